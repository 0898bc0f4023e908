//! What every actor speaks of: money, who a tenant is, and why something was refused.

mod cursor;
mod money;
mod period;
mod refusal;
mod tenant_id;

pub use cursor::Cursor;
pub use money::{Micro, Price};
pub use period::{DAY_MS, Period};
pub use refusal::Refusal;
pub use tenant_id::{EMAIL_BYTES_MAX, InvalidEmail, TenantId};
