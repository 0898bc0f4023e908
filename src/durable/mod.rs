//! The Durable Objects: one thin shell per actor, which decodes, runs one transaction and performs effects.

mod alarm;
mod tenant;
mod tenant_actor;

pub use tenant_actor::TenantActor;
