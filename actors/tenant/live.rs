//! Tickets, and the sockets that they and other credentials open: who may listen to this tenant's events, and from
//! where on.

use serde::{Deserialize, Serialize};

use super::{Actor, Outcome, Reply};
use crate::credits::Account;
use crate::events::{self, Listener, Position};
use crate::keys;
use crate::shared::{Refusal, TenantId};
use crate::sql::Sql;
use crate::tickets::{self, Presented};

/// A socket to be. The shell asks for it, because it alone counts the sockets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opening {
    /// The ticket that is shown. Without one, the call itself says who it is.
    pub ticket: Option<Presented>,
    /// Whose events the client says that it wants, beside its ticket.
    pub claimed: Option<TenantId>,
    /// When the credential ends that proves it, where that is no ticket.
    pub credential_ends_at_ms: Option<i64>,
    /// The place that the client had come to.
    pub after: Option<String>,
}

/// How a listener begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begins {
    /// With what is to come: it did not say where it was.
    New,
    /// With what it missed, all of it.
    Resumed,
    /// With what is to come, because what it missed can no longer be told.
    WindowPassed,
}

/// What a listener is told first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opened {
    pub tenant: TenantId,
    pub listener: Listener,
    pub account: Account,
    pub begins: Begins,
}

/// Opens the way for one socket, and takes its ticket.
///
/// # Errors
/// `UnknownTicket`, `UnknownApiKey`, `InvalidCursor`; `Quarantined`, where a ticket cannot be taken.
pub(super) fn open(
    sql: &mut impl Sql,
    actor: &Actor,
    asked: &Opening,
    api_key: Option<&str>,
    now_ms: i64,
) -> Result<Outcome, Refusal> {
    let tenant = &actor.tenant;
    let (api_key, mut ends_at_ms) = match &asked.ticket {
        None => (api_key.map(str::to_owned), asked.credential_ends_at_ms),
        Some(_) if actor.quarantined => return Err(Refusal::Quarantined),
        Some(shown) => {
            if asked.claimed.as_ref().is_some_and(|claimed| claimed != tenant) {
                return Err(Refusal::UnknownTicket);
            }
            let redeemed = tickets::redeem(sql, shown, now_ms)?;
            (redeemed.api_key, redeemed.credential_ends_at_ms)
        }
    };
    if let Some(id) = &api_key {
        let key = keys::check(sql, id, now_ms)?;
        let ends_ms = [ends_at_ms, key.expires_at_ms];
        ends_at_ms = ends_ms.into_iter().flatten().min();
    }
    let from = asked.after.as_deref().map(|raw| Position::decode(raw, tenant)).transpose()?;
    let (begins, position) = match from {
        None => (Begins::New, events::newest(sql, now_ms)?),
        Some(from) => match events::passed(sql, from, now_ms)? {
            None => (Begins::Resumed, from),
            Some(now) => (Begins::WindowPassed, now),
        },
    };
    let opened = Opened {
        tenant: tenant.clone(),
        listener: Listener::new(api_key, ends_at_ms, position, now_ms),
        account: Account::view_at(sql, now_ms)?,
        begins,
    };
    Ok(Outcome { reply: Reply::Opened(Box::new(opened)), effects: Vec::new() })
}
