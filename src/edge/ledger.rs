//! What is behind a balance: entries, holds, notices, and the tenant's own audit of all of it.

use actors::credits::{HoldState, ListedHold, VERIFY_ENTRIES_MAX};
use actors::shared::Micro;
use actors::tenant::{Command, Reply as ActorReply};
use serde_json::{Value, json};

use super::context::{Context, unexpected};
use super::error::ApiError;
use super::identity::Caller;
use super::limits::VERIFY_PAGES_MAX;
use super::moment::iso_time;
use super::reply::Reply;
use crate::platform::now_ms;
use crate::shown::entry_object;

/// `GET /api/credits/ledger`: entries, newest first, each with the balance after it and its place in the chain.
pub async fn entries(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let (limit, cursor) = (context.inbound.query.limit(), context.inbound.query.get("cursor"));
    let command = Command::ListEntries { limit, cursor };
    let ActorReply::Entries(page) = context.ask_actor(&caller, command).await? else {
        return Err(unexpected());
    };
    let items: Vec<Value> = page.items.iter().map(entry_object).collect();
    Ok(list(&caller, &items, page.next_cursor))
}

fn list(caller: &Caller, items: &[Value], next_cursor: Option<String>) -> Reply {
    let body = json!({ "email": caller.tenant.label(), "items": items, "next_cursor": next_cursor });
    Reply::json(200, &body)
}

/// `GET /api/credits/holds`: open holds with owner, age and deadline, the first to expire leading; with
/// `?state=expired` those that nobody settled, the last leading.
pub async fn holds(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let state = match context.inbound.query.get("state").as_deref() {
        None | Some("open") => HoldState::Open,
        Some("expired") => HoldState::Expired,
        Some(_) => return Err(ApiError::InvalidField { field: "state", expected: "`open` or `expired`" }),
    };
    let (limit, cursor) = (context.inbound.query.limit(), context.inbound.query.get("cursor"));
    let command = Command::ListHolds { state, limit, cursor };
    let ActorReply::Holds(page) = context.ask_actor(&caller, command).await? else {
        return Err(unexpected());
    };
    let now_ms = now_ms();
    let items: Vec<Value> = page.items.iter().map(|hold| hold_object(hold, now_ms)).collect();
    let body = json!({
        "email": caller.tenant.label(),
        "items": items,
        "open": page.open,
        "next_cursor": page.next_cursor,
    });
    Ok(Reply::json(200, &body))
}

fn hold_object(hold: &ListedHold, now_ms: i64) -> Value {
    let open = hold.ended_at_ms.is_none();
    let held = hold.amount_micro.minus(hold.charged_micro).filter(|_| open).unwrap_or(Micro::ZERO);
    json!({
        "id": hold.id,
        "state": hold.state,
        "amount": hold.amount_micro.credits(),
        "charged": hold.charged_micro.credits(),
        "held": held.credits(),
        "shortfall": hold.shortfall_micro.credits(),
        "route": hold.owner.route,
        "owner": {
            "request_id": hold.owner.request_id,
            "api_key": hold.owner.api_key,
            "models": hold.owner.models,
        },
        "created_at": iso_time(hold.created_at_ms),
        "age_ms": now_ms.saturating_sub(hold.created_at_ms),
        "deadline": iso_time(hold.deadline_ms),
        "ended_at": hold.ended_at_ms.map(iso_time),
    })
}

/// `GET /api/credits/notices`: what the owner was told, newest first, and how its delivery goes.
pub async fn notices(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let (limit, cursor) = (context.inbound.query.limit(), context.inbound.query.get("cursor"));
    let command = Command::ListNotices { limit, cursor };
    let ActorReply::Notices(page) = context.ask_actor(&caller, command).await? else {
        return Err(unexpected());
    };
    let items = page.items.iter().map(|notice| {
        let attempts = notice.attempt_log.iter().map(
            |made| json!({"attempt": made.attempt, "at": iso_time(made.at_ms), "outcome": made.outcome}),
        );
        json!({
            "seq": notice.seq,
            "created_at": iso_time(notice.at_ms),
            "type": notice.kind,
            "data": notice.body,
            "state": notice.state,
            "attempts": notice.attempts,
            "next_attempt_at": notice.next_at_ms.map(iso_time),
            "delivered_at": notice.delivered_at_ms.map(iso_time),
            "last_outcome": notice.last_outcome,
            "log": attempts.collect::<Vec<_>>(),
        })
    });
    let items: Vec<Value> = items.collect();
    Ok(list(&caller, &items, page.next_cursor))
}

/// `GET /api/credits/verify`: walks the chain from its beginning, or after `?from=`, and compares the account
/// with it. A longer ledger than one reply walks is gone on with from `next_from`.
pub async fn verify(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let from = context.inbound.query.sequence("from")?.unwrap_or(0);
    if from < 0 {
        let expected = "the sequence number of an entry of the ledger";
        return Err(ApiError::InvalidField { field: "from", expected });
    }
    let (mut last_seq, mut entries, mut last) = (from, 0_i64, None);
    for _ in 0..VERIFY_PAGES_MAX {
        let command = Command::Verify { from: last_seq, limit: VERIFY_ENTRIES_MAX };
        let ActorReply::Verified(found) = context.ask_actor(&caller, command).await? else {
            return Err(unexpected());
        };
        (last_seq, entries) = (found.last_seq, entries.saturating_add(found.entries));
        let ends = found.complete || !found.problems.is_empty();
        last = Some(found);
        if ends {
            break;
        }
    }
    let found = last.ok_or_else(unexpected)?;
    Ok(Reply::json(
        200,
        &json!({
            "email": caller.tenant.label(),
            "ok": found.problems.is_empty(),
            "complete": found.complete,
            "entries": entries,
            "last_entry": found.last_seq,
            "head": found.last_hash,
            "problems": found.problems,
            "next_from": (!found.complete).then_some(found.last_seq),
        }),
    ))
}
