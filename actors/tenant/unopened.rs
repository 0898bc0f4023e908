//! What an actor answers before its first change. Asking about a tenant that never did anything makes no
//! database: else whoever can name tenants could fill a disk with empty ones.

use super::{Call, Command, Policy, Reply};
use crate::credits::{Account, EntryPage, HoldPage, UsagePage};
use crate::shared::{Micro, Refusal};

/// The answer to a question; `None` for a command that changes something, which opens the actor.
///
/// # Errors
/// `InvalidCursor`: no list here has made one yet. `InsufficientCredits`: the opening grant does not do.
pub fn unopened(call: &Call, policy: Policy, now_ms: i64) -> Result<Option<Reply>, Refusal> {
    // Credit that opening would not bring cannot be held, so there is nothing to open for.
    if let Command::Admit { amount, .. } = &call.command {
        let available = policy.opening_grant(&call.tenant);
        if *amount > available {
            return Err(Refusal::InsufficientCredits { available, needed: *amount, updated_at_ms: now_ms });
        }
    }
    let cursor = match &call.command {
        Command::ListUsage(filter) => filter.cursor.as_ref(),
        Command::ListEntries { cursor, .. } => cursor.as_ref(),
        _ => None,
    };
    if cursor.is_some() {
        return Err(Refusal::InvalidCursor);
    }
    Ok(match call.command {
        Command::Balance => Some(Reply::Balance(before_opening(call, policy, now_ms))),
        Command::ListUsage(_) => Some(Reply::Usage(UsagePage { items: Vec::new(), next_cursor: None })),
        Command::ListEntries { .. } => {
            Some(Reply::Entries(EntryPage { items: Vec::new(), next_cursor: None }))
        }
        Command::ListHolds { .. } => Some(Reply::Holds(HoldPage { items: Vec::new(), open: 0 })),
        _ => None,
    })
}

/// The account as opening it now would make it.
fn before_opening(call: &Call, policy: Policy, now_ms: i64) -> Account {
    let grant = policy.opening_grant(&call.tenant);
    Account {
        available: grant,
        held: Micro::ZERO,
        granted: grant,
        settled: Micro::ZERO,
        holds_open: 0,
        next_seq: 1,
        updated_at_ms: now_ms,
    }
}
