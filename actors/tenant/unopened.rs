//! What an actor answers before its first change. Asking about a tenant that never did anything makes no
//! database: else whoever can name tenants could fill a disk with empty ones.

use super::{Call, Command, LimitsReport, Policy, Reply, Settings, genesis};
use crate::credits::{self, Account, EntryPage, HoldPage, UsagePage, Verified};
use crate::notices::NoticePage;
use crate::rate::{self, Meters};
use crate::shared::{Micro, Refusal, TenantId};

/// The answer to a question; `None` for a command that changes something, which opens the actor.
///
/// # Errors
/// `InvalidCursor`, `UnknownEntry`: no list here has made one yet. `InsufficientCredits`: the opening grant does
/// not do.
pub fn unopened(call: &Call, policy: &Policy, now_ms: i64) -> Result<Option<Reply>, Refusal> {
    // Credit that opening would not bring cannot be held, so there is nothing to open for.
    if let Command::Admit(asked) = &call.command {
        let available = policy.opening(&call.tenant, now_ms).amount;
        if asked.amount > available {
            let needed = asked.amount;
            return Err(Refusal::InsufficientCredits { available, needed, updated_at_ms: now_ms });
        }
    }
    if let Command::Jobs(asked) = &call.command {
        return super::jobs::unopened(asked, call, policy, now_ms);
    }
    if let Command::Voice(asked) = &call.command {
        return super::voice::unopened(asked, call, policy, now_ms);
    }
    let cursor = match &call.command {
        Command::ListUsage(filter) => filter.cursor.as_ref(),
        Command::ListEntries { cursor, .. }
        | Command::ListHolds { cursor, .. }
        | Command::ListNotices { cursor, .. } => cursor.as_ref(),
        _ => None,
    };
    if cursor.is_some() {
        return Err(Refusal::InvalidCursor);
    }
    Ok(Some(match &call.command {
        Command::Balance => Reply::Balance(before_opening(&call.tenant, policy, now_ms)),
        Command::Recall { .. } => Reply::NotAnswered,
        Command::BalanceAt { .. } => return Err(Refusal::UnknownEntry),
        Command::Identify { .. } | Command::RevokeKey { .. } => return Err(Refusal::UnknownApiKey),
        Command::OpenSocket(asked) if asked.ticket.is_some() => return Err(Refusal::UnknownTicket),
        Command::ListKeys => Reply::Keys(Vec::new()),
        Command::ListUsage(_) => Reply::Usage(UsagePage { items: Vec::new(), next_cursor: None }),
        Command::ListEntries { .. } => Reply::Entries(EntryPage { items: Vec::new(), next_cursor: None }),
        Command::ListHolds { .. } => Reply::Holds(HoldPage { items: Vec::new(), open: 0, next_cursor: None }),
        Command::ListNotices { .. } => Reply::Notices(NoticePage { items: Vec::new(), next_cursor: None }),
        Command::Verify { from: 0, .. } => {
            let last_hash = genesis(&call.tenant);
            Reply::Verified(Verified { last_hash, complete: true, ..Verified::default() })
        }
        Command::Verify { .. } => return Err(Refusal::UnknownEntry),
        Command::Limits => Reply::Limits(Box::new(limits(call, policy, now_ms))),
        _ => return Ok(None),
    }))
}

/// The account as opening it now would make it.
pub(super) fn before_opening(tenant: &TenantId, policy: &Policy, now_ms: i64) -> Account {
    let opening = policy.opening(tenant, now_ms);
    let mut account = credits::unopened(&genesis(tenant), now_ms);
    if opening.amount > Micro::ZERO && account.grants.add(1, opening.terms, opening.amount).is_ok() {
        account.available = opening.amount;
        account.granted = opening.amount;
    }
    account
}

fn limits(call: &Call, policy: &Policy, now_ms: i64) -> LimitsReport {
    let effective = policy.plan(&call.tenant, None);
    let budgets = rate::windows_left(&Meters::new(), &effective, None, now_ms);
    LimitsReport { settings: Settings::default(), budgets, effective, caps: Vec::new() }
}
