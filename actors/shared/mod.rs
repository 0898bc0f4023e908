//! What every actor speaks of: money, who a tenant is, and why something was refused.

mod aside;
mod audio;
mod cursor;
mod file_name;
mod money;
mod period;
mod price;
mod refusal;
mod tenant_id;

pub use aside::Aside;
pub use audio::{CHARACTERS_PER_SECOND, CHARACTERS_PER_TOKEN, MILLISECONDS_PER_TOKEN};
pub use cursor::Cursor;
pub use file_name::{FILE_NAME_BYTES_MAX, safe_file_name};
pub use money::Micro;
pub use period::{DAY_MS, Period};
pub use price::{ModelPrice, PriceTable, Units};
pub use refusal::Refusal;
pub use tenant_id::{EMAIL_BYTES_MAX, InvalidEmail, TenantId};
