//! The Durable Objects: one thin shell per actor, which decodes, runs one transaction and performs effects.

mod alarm;
mod event_frames;
mod listening;
mod tenant;
mod tenant_actor;

pub use tenant_actor::TenantActor;
