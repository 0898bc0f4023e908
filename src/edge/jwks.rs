//! Public keys: what is served, and what verifies tokens. Both are the union of KV and our own key, so that
//! a key rotates with overlap: publish the next one in KV, wait, switch, keep the old one in KV for a while.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Map, Value, json};
use worker::Env;

use super::error::ApiError;
use super::jwt::Rejected;
use super::limits::{PUBLIC_KEYS_MAX, PUBLIC_KEYS_REFRESH_MS, PUBLIC_KEYS_TTL_MS};
use crate::platform::config::{self, Config};
use crate::platform::web_crypto::{self, CryptoKey};
use crate::platform::{log, now_ms};

const KV_BINDING: &str = "KEYS";
const KV_KEY: &str = "jwks";
/// The members of an RSA JWK that are public. Everything else stays where it is.
const PUBLIC_MEMBERS: &[&str] = &["kty", "n", "e", "kid", "alg", "use"];

/// The key set to serve. All of it or nothing: who publishes the next set makes it of this one, and a key that were
/// missing here would be gone from then on.
///
/// # Errors
/// `Unavailable` when KV cannot be read.
pub async fn served(env: &Env, config: &Config, request_id: &str) -> Result<Value, ApiError> {
    match stored(env).await {
        Ok(stored) => Ok(json!({ "keys": union(&stored, config) })),
        Err(Unread) => {
            log::fault_of(request_id, "public_keys_unread", "KV could not be read");
            Err(ApiError::Unavailable)
        }
    }
}

/// KV could not be read: nothing is known of what it holds.
struct Unread;

/// What KV holds; null when it holds nothing, or nothing that is JSON, or when there is none.
async fn stored(env: &Env) -> Result<Value, Unread> {
    if !config::has_binding(env, KV_BINDING) {
        return Ok(Value::Null);
    }
    let store = env.kv(KV_BINDING).map_err(|_| Unread)?;
    let text = store.get(KV_KEY).text().await.map_err(|_| Unread)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null))
}

/// Public members of every stored RSA key, and our own key unless its id is there.
fn union(stored: &Value, config: &Config) -> Vec<Value> {
    let mut keys: Vec<Value> = stored
        .get("keys")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(public_members).take(PUBLIC_KEYS_MAX).collect())
        .unwrap_or_default();
    if let Ok(own) = &config.signing {
        // Our own key replaces a stored one of its id: what we sign must verify.
        keys.retain(|key| key.get("kid").and_then(Value::as_str) != Some(config.kid.as_str()));
        keys.insert(
            0,
            json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": config.kid,
                "n": own.modulus_b64, "e": own.exponent_b64,
            }),
        );
    }
    keys
}

/// Id, modulus and exponent of each usable key of a published set.
pub fn rsa_keys(set: &Value) -> Vec<(String, String, String)> {
    let listed = set.get("keys").and_then(Value::as_array);
    let usable = listed.into_iter().flatten().filter_map(public_members).take(PUBLIC_KEYS_MAX);
    let text = |key: &Value, name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    usable.map(|key| (text(&key, "kid"), text(&key, "n"), text(&key, "e"))).collect()
}

fn public_members(key: &Value) -> Option<Value> {
    let key = key.as_object()?;
    let says = |name: &str, wanted: &str| key.get(name).is_none_or(|value| value.as_str() == Some(wanted));
    let usable = key.get("kty").and_then(Value::as_str) == Some("RSA")
        && says("alg", "RS256")
        && says("use", "sig")
        && ["n", "e", "kid"].iter().all(|name| key.get(*name).is_some_and(Value::is_string));
    let public: Map<String, Value> = PUBLIC_MEMBERS
        .iter()
        .filter_map(|name| key.get(*name).map(|value| ((*name).to_owned(), value.clone())))
        .collect();
    usable.then_some(Value::Object(public))
}

/// Public keys of this isolate, imported and ready.
#[derive(Default)]
struct Known {
    read_at_ms: Option<i64>,
    keys: Vec<(String, CryptoKey)>,
    /// What the keys were made of, to see when they change.
    set: Vec<Value>,
    edition: u64,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::new(Known::default());
}

/// A key that verifies, and the edition of the set it is in: what an older edition found good must be looked at again.
#[derive(Clone)]
pub struct VerifyingKey {
    pub key: CryptoKey,
    pub edition: u64,
}

impl Known {
    fn find(&self, kid: &str) -> Option<VerifyingKey> {
        let (_, key) = self.keys.iter().find(|(id, _)| id == kid)?;
        Some(VerifyingKey { key: key.clone(), edition: self.edition })
    }
}

/// The key of that id. KV is read when the keys are old, or when the id is unknown and the last read is not
/// fresh, so that a forged id costs nothing.
///
/// # Errors
/// [`Rejected`] when no key has that id.
pub async fn verifying_key(env: &Env, config: &Rc<Config>, kid: &str) -> Result<VerifyingKey, Rejected> {
    let now_ms = now_ms();
    let (found, age_ms) = KNOWN.with_borrow(|known| {
        (known.find(kid), known.read_at_ms.map_or(i64::MAX, |at| now_ms.saturating_sub(at)))
    });
    let fresh_enough = if found.is_some() { PUBLIC_KEYS_TTL_MS } else { PUBLIC_KEYS_REFRESH_MS };
    if age_ms < fresh_enough {
        return found.ok_or(Rejected);
    }
    let stored = match stored(env).await {
        Ok(stored) => stored,
        // The keys of before are better than none. An isolate that has none yet still has our own.
        Err(Unread) => {
            let any = KNOWN.with_borrow_mut(|known| {
                known.read_at_ms = Some(now_ms);
                !known.keys.is_empty()
            });
            if any {
                return found.ok_or(Rejected);
            }
            Value::Null
        }
    };
    let (mut keys, set) = (Vec::new(), union(&stored, config));
    for key in &set {
        let member = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Ok(imported) = web_crypto::import_public(&member("n"), &member("e")).await {
            keys.push((member("kid"), imported));
        }
    }
    KNOWN.with_borrow_mut(|known| {
        let changes = u64::from(known.set != set);
        let edition = known.edition.wrapping_add(changes);
        *known = Known { read_at_ms: Some(now_ms), keys, set, edition };
        known.find(kid).ok_or(Rejected)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_members_are_never_taken_over() {
        let stored = json!({ "kty": "RSA", "kid": "k0", "n": "AQAB", "e": "AQAB", "d": "secret", "p": "secret",
            "q": "secret", "dp": "secret", "dq": "secret", "qi": "secret", "oth": [], "k": "secret" });
        let public = public_members(&stored).unwrap();
        assert!(!public.to_string().contains("secret"), "{public}");
        assert_eq!(public["n"], "AQAB");
        assert_eq!(public_members(&json!({ "kty": "oct", "kid": "k", "k": "secret" })), None);
        assert_eq!(public_members(&json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" })), None, "no id");
        for other in [json!({ "alg": "RS512" }), json!({ "use": "enc" })] {
            let mut key = json!({ "kty": "RSA", "kid": "k", "n": "AQAB", "e": "AQAB" });
            key.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
            assert_eq!(public_members(&key), None, "{key}");
        }
    }
}
