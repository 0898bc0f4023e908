//! Looking at sessions, and ending one.

use actors::tenant::{VoiceCommand, VoiceReply};
use serde_json::{Value, json};

use super::super::context::{Context, unexpected};
use super::super::error::ApiError;
use super::super::identity::Caller;
use super::super::reply::Reply;
use super::{ask, session_id, shown};
use crate::platform::voice_stub::{self, VoiceAsked, VoiceReply as SessionReply};

/// `GET /api/voice/sessions`: newest first.
pub async fn list(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let query = &context.inbound.query;
    let asked = VoiceCommand::List { limit: query.limit(), cursor: query.get("cursor") };
    let VoiceReply::Page(page) = ask(context, &caller, asked).await? else {
        return Err(unexpected());
    };
    let items: Vec<Value> = page.items.iter().map(shown::listed).collect();
    let body = json!({ "email": caller.tenant.label(), "items": items, "next_cursor": page.next_cursor });
    Ok(Reply::json(200, &body))
}

/// The session in `/api/voice/sessions/:id/…`.
///
/// # Errors
/// `NotFound` for what is none.
pub fn id(context: &Context) -> Result<String, ApiError> {
    let id = context.inbound.path.split('/').nth(4).unwrap_or_default();
    if session_id::is_one(id) { Ok(id.to_owned()) } else { Err(ApiError::NotFound) }
}

fn own(context: &Context, caller: &Caller) -> Result<String, ApiError> {
    let id = id(context)?;
    if session_id::is_of(&id, &caller.tenant) { Ok(id) } else { Err(ApiError::NotFound) }
}

/// `GET /api/voice/sessions/:id`: the session, and its turns after the `after`-th, the oldest first.
pub async fn show(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let id = own(context, &caller)?;
    let query = &context.inbound.query;
    let expected = "the `n` of a turn";
    let after = query.get("after").map(|text| text.parse::<i64>()).transpose();
    let after = after.map_err(|_| ApiError::InvalidField { field: "after", expected })?.unwrap_or(0);
    let asked = VoiceAsked::Show {
        tenant: caller.tenant.clone(),
        after: after.max(0),
        limit: i64::from(query.limit()),
    };
    match voice_stub::send(context.origin(), &id, asked).await? {
        SessionReply::Shown { session, turns } => {
            let items: Vec<Value> = turns.items.iter().map(shown::turn).collect();
            let mut body = shown::session(&session);
            if let Some(members) = body.as_object_mut() {
                members.insert("email".to_owned(), json!(caller.tenant.label()));
                members.insert("items".to_owned(), Value::Array(items));
                members.insert("next_after".to_owned(), json!(turns.next_after));
            }
            Ok(Reply::json(200, &body))
        }
        SessionReply::Done => Err(unexpected()),
    }
}

/// `DELETE /api/voice/sessions/:id`: ends it, at once; what was charged and said stays to be read.
pub async fn end(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let id = own(context, &caller)?;
    voice_stub::send(context.origin(), &id, VoiceAsked::End { tenant: caller.tenant.clone() }).await?;
    Ok(Reply::json(200, &json!({ "ok": true, "session": id })))
}
