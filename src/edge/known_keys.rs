//! API keys this isolate has seen their actors recognise: whose they are, so that not every request asks twice.
//!
//! Only identity is remembered. Whether the key is still live is looked up by the actor in the transaction of each
//! command, so a key that was revoked opens nothing from then on.

use std::cell::RefCell;
use std::collections::HashMap;

use actors::shared::{Refusal, TenantId};
use actors::tenant::{Command, Reply};

use super::address_limits::{self, Address};
use super::api_key;
use super::error::ApiError;
use super::identity::Caller;
use crate::platform::tenant_stub::{self, Origin};

/// Keys remembered at one time, some three hundred bytes each.
const KEYS_MAX: usize = 4_096;

/// Whose key it is, and which of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub tenant: TenantId,
    pub key: String,
}

thread_local! {
    static KNOWN: RefCell<HashMap<String, Holder>> = RefCell::default();
}

/// Whose key `token` is.
///
/// # Errors
/// `TokenInvalid`; `RateLimited` for an address that tries many that are none; `Unavailable`.
pub async fn holder(
    origin: Origin<'_>,
    token: &str,
    address: Address,
    now_ms: i64,
) -> Result<Holder, ApiError> {
    let Some(presented) = api_key::present(token) else {
        return Err(ApiError::TokenInvalid);
    };
    if let Some(known) = KNOWN.with_borrow(|known| known.get(&presented.digest).cloned()) {
        return Ok(known);
    }
    // Each guess wakes an actor, so guesses are counted before they are made.
    address_limits::key_guess(address, now_ms)?;
    let command = Command::Identify { digest: presented.digest.clone() };
    let (tenant, key) = match tenant_stub::send_to(origin, &presented.actor, command).await {
        Ok(Reply::Identified { tenant, key }) => (tenant, key),
        Ok(_) | Err(Refusal::UnknownApiKey) => return Err(ApiError::TokenInvalid),
        Err(refusal) => return Err(ApiError::from(refusal)),
    };
    // The routing in the key leads to the actor; the actor says who it is, and both must agree.
    if tenant_stub::name_of(&tenant) != presented.actor {
        return Err(ApiError::TokenInvalid);
    }
    address_limits::key_was_right(address, now_ms);
    let holder = Holder { tenant, key: key.id };
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= KEYS_MAX {
            known.clear();
        }
        known.insert(presented.digest, holder.clone());
    });
    Ok(holder)
}

/// What a caller is told whose key its actor no longer accepts; the key is forgotten here. `None` for every other
/// refusal, and for `/api/keys`, where an unknown key is one that was asked about.
pub fn refused(refusal: &Refusal, caller: &Caller) -> Option<ApiError> {
    let key = caller.api_key.as_ref().filter(|_| *refusal == Refusal::UnknownApiKey)?;
    KNOWN.with_borrow_mut(|known| known.retain(|_, holder| holder.key != *key));
    Some(ApiError::TokenInvalid)
}
