//! The Tenant actor: credits, budgets, idempotency keys, notices and jobs of one tenant, over one database.
//!
//! Owns: the commands, what one transaction of each does, and the schema with its versions.
//! Never does: calls to providers, waiting, anything that needs the platform.

mod admission;
mod alarm;
mod command;
mod due;
mod handle;
mod idempotency;
mod jobs;
mod limits;
mod live;
mod policy;
mod schema;
mod settings;
mod standing;
mod unopened;
mod voice;
mod waking;

#[cfg(test)]
mod tests;

pub use alarm::{Rung, alarm, note_attempt};
pub use command::{
    Admission, Admitted, Call, Command, Effect, Idempotency, KeyCap, LimitsReport, Outcome, Reply, Stored,
};
pub use due::due_at_ms;
pub use handle::handle;
pub use idempotency::{KEY_BYTES_MAX, KEY_TTL_MS, KEYS_MAX, REPLY_BYTES_MAX};
pub use jobs::{JobCommand, JobReply, RedriveAll};
pub use limits::TOP_UP_AGAIN_MS;
pub use live::{Begins, Opened, Opening};
pub use policy::Policy;
pub use schema::{Actor, SCHEMA_VERSION, genesis, open, quarantine, reopen};
pub use settings::{
    FINGERPRINT_WINDOW_MS_MAX, KEY_LIMITS_MAX, NAME_BYTES_MAX, Settings, TopUp, WEBHOOK_URL_BYTES_MAX,
};
pub use standing::{Standing, standing, standing_unopened, wants_standing};
pub use unopened::unopened;
pub use voice::{VoiceCommand, VoiceReply};
pub use waking::{Woken, wake};
