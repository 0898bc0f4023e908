//! The Durable Objects: one thin shell per actor, which decodes, runs one transaction and performs effects.

mod address_actor;
mod alarm;
mod catalog_actor;
mod event_frames;
mod experiment_actor;
mod listening;
mod schedules;
mod tenant;
mod tenant_actor;
mod voice;
mod voice_actor;

pub use address_actor::AddressActor;
pub use catalog_actor::CatalogActor;
pub use experiment_actor::ExperimentActor;
pub use schedules::{PriceRun, Run as ScheduleRun};
pub use tenant_actor::TenantActor;
pub use voice_actor::VoiceActor;
