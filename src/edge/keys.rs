//! `/api/keys`: a tenant's API keys. A key is shown once, when it is made.

use actors::keys::{ApiKey, NewKey};
use actors::shared::Period;
use actors::tenant::{Command, KeyCap, Reply as ActorReply};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api_key;
use super::context::{Context, unexpected};
use super::error::ApiError;
use super::identity::Caller;
use super::json_body;
use super::limits::JSON_BODY_BYTES_MAX;
use super::moment::{iso_time, moment_ms};
use super::reply::Reply;
use crate::platform::{now_ms, random_bytes, random_id, tenant_stub};

#[derive(Deserialize)]
struct KeyBody {
    name: Option<Value>,
    expires_at: Option<Value>,
    cap: Option<Value>,
}

/// What a key is called when nothing is said.
const NAME: &str = "API key";

const NAME_EXPECTED: &str = "a text of 1 to 128 bytes without control characters or changes of its direction";

/// A name is looked at when a key is to be ended: it must not hide, or show another one.
fn is_name(name: &str) -> bool {
    // Line and paragraph ends; marks, overrides and isolates of direction; and what has no width.
    let misleads = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    !name.is_empty() && !name.contains(misleads)
}

/// Who may keep keys: a tenant with an address, with a token or by its operator. A key cannot make or end keys, or one
/// that leaked could not be got rid of.
async fn keeper(context: &Context) -> Result<Caller, ApiError> {
    let caller = context.caller().await?;
    if caller.api_key.is_some() || caller.tenant.is_guest() {
        return Err(ApiError::KeysForbidden);
    }
    Ok(caller)
}

/// `POST {name?, expires_at?, cap?: {limit, period}}` → the key, this once: who comes again with the same
/// `Idempotency-Key` is told which key was made, and `key` is null.
pub async fn create(context: &Context) -> Result<Reply, ApiError> {
    let caller = keeper(context).await?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let body: KeyBody = if bytes.is_empty() { empty() } else { json_body::parse(&bytes)? };
    let name = match said(body.name) {
        None => NAME.to_owned(),
        Some(Value::String(name)) if is_name(name.trim()) => name.trim().to_owned(),
        Some(_) => return Err(ApiError::InvalidField { field: "name", expected: NAME_EXPECTED }),
    };
    let expires_at_ms = said(body.expires_at).map(|at| {
        let text = at.as_str().map_or_else(|| at.to_string(), str::to_owned);
        let expected = "an RFC 3339 time or a number since 1970";
        moment_ms(&text).ok_or(ApiError::InvalidField { field: "expires_at", expected })
    });
    let cap = said(body.cap).map(|cap| key_cap(&cap)).transpose()?;
    let secret = random_bytes();
    let whole = api_key::compose(&tenant_stub::name_of(&caller.tenant), &secret).ok_or_else(unexpected)?;
    let key = NewKey {
        id: format!("key-{}", random_id()),
        digest: api_key::digest(&secret),
        name,
        expires_at_ms: expires_at_ms.transpose()?,
    };
    let (made, replayed) =
        match context.ask_actor(&caller, Command::CreateKey { key, cap, idempotency }).await? {
            ActorReply::Key(made) => (made, false),
            // Its secret is nowhere any more.
            ActorReply::KeyAgain(made) => (made, true),
            _ => return Err(unexpected()),
        };
    let mut shown = shown(&made);
    shown.insert("key".to_owned(), json!((!replayed).then_some(whole)));
    let reply = Reply::json(200, &Value::Object(shown));
    Ok(if replayed { reply.with("idempotency-replayed", "true") } else { reply })
}

fn empty() -> KeyBody {
    KeyBody { name: None, expires_at: None, cap: None }
}

fn said(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !value.is_null())
}

fn key_cap(value: &Value) -> Result<KeyCap, ApiError> {
    let expected = "{\"limit\": credits, \"period\": \"day\" or \"month\"}";
    let wrong = || ApiError::InvalidField { field: "cap", expected };
    let limit = value.get("limit").and_then(Value::as_f64).and_then(actors::shared::Micro::from_credits);
    let limit = limit.filter(|limit| *limit >= actors::shared::Micro::ZERO).ok_or_else(wrong)?;
    let period = value.get("period").ok_or_else(wrong)?;
    let period = Period::deserialize(period).map_err(|_| wrong())?;
    Ok(KeyCap { period, limit })
}

/// `GET`: all of them, never the secrets.
pub async fn list(context: &Context) -> Result<Reply, ApiError> {
    let caller = keeper(context).await?;
    let ActorReply::Keys(keys) = context.ask_actor(&caller, Command::ListKeys).await? else {
        return Err(unexpected());
    };
    let items: Vec<Value> = keys.iter().map(|key| Value::Object(shown(key))).collect();
    Ok(Reply::json(200, &json!({ "email": caller.tenant.label(), "items": items })))
}

/// `DELETE /api/keys/:id`: it opens nothing from now on.
pub async fn revoke(context: &Context) -> Result<Reply, ApiError> {
    let caller = keeper(context).await?;
    let id = context.inbound.path.rsplit('/').next().unwrap_or_default().to_owned();
    let ActorReply::Key(key) = context.ask_actor(&caller, Command::RevokeKey { id }).await? else {
        return Err(unexpected());
    };
    Ok(Reply::json(200, &Value::Object(shown(&key))))
}

fn shown(key: &ApiKey) -> Map<String, Value> {
    let state = if key.is_live(now_ms()) { "live" } else { "ended" };
    let mut object = Map::new();
    for (name, value) in [
        ("id", json!(key.id)),
        ("name", json!(key.name)),
        ("state", json!(state)),
        ("created_at", json!(iso_time(key.created_at_ms))),
        ("expires_at", json!(key.expires_at_ms.map(iso_time))),
        ("revoked_at", json!(key.revoked_at_ms.map(iso_time))),
        ("last_used_at", json!(key.last_used_ms.map(iso_time))),
    ] {
        object.insert(name.to_owned(), value);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_what_it_is() {
        for good in ["ci", "Бухгалтерия 2", "日本 🗝", "e\u{301}"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            "a\nb",
            "a\u{0}",
            "a\u{7f}",
            "\u{202e}nigol",
            "a\u{2066}b",
            "a\u{200b}b",
            "\u{feff}a",
            "a\u{85}b",
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
