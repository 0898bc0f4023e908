//! Public keys: what is served, and what verifies tokens. Both are the union of KV and our own key, so that
//! a key rotates with overlap: publish the next one in KV, wait, switch, keep the old one in KV for a while.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Map, Value, json};
use worker::Env;

use super::error::ApiError;
use super::limits::{
    PUBLIC_KEYS_MAX, PUBLIC_KEYS_REFRESH_MS, PUBLIC_KEYS_RETRY_MS, PUBLIC_KEYS_STALE_MS_MAX,
    PUBLIC_KEYS_TTL_MS,
};
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
/// `Unavailable` when KV cannot be read, or holds what is no key set.
pub async fn served(env: &Env, config: &Config, request_id: &str) -> Result<Value, ApiError> {
    match stored(env).await {
        Ok(stored) => Ok(json!({ "keys": union(&stored, config) })),
        Err(Unread) => {
            log::fault_of(request_id, "public_keys_unread", UNREAD);
            Err(ApiError::Unavailable)
        }
    }
}

/// KV could not be read, or what it holds is no key set: which keys are published is not known.
struct Unread;

const UNREAD: &str = "KV could not be read, or what it holds is no key set";

/// What KV holds; null when it holds nothing, or when there is none.
async fn stored(env: &Env) -> Result<Value, Unread> {
    if !config::has_binding(env, KV_BINDING) {
        return Ok(Value::Null);
    }
    let store = env.kv(KV_BINDING).map_err(|_| Unread)?;
    let text = store.get(KV_KEY).text().await.map_err(|_| Unread)?;
    text.map_or(Ok(Value::Null), |text| key_set(&text))
}

fn key_set(text: &str) -> Result<Value, Unread> {
    let set: Value = serde_json::from_str(text).map_err(|_| Unread)?;
    if set.get("keys").is_some_and(Value::is_array) { Ok(set) } else { Err(Unread) }
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
struct Known<K> {
    keys: Vec<(String, K)>,
    /// What the keys were made of, to see when they change.
    set: Vec<Value>,
    edition: u64,
    /// When KV was last read.
    good_at_ms: Option<i64>,
    /// When it was last tried in vain, if it was not read since.
    failed_at_ms: Option<i64>,
}

thread_local! {
    static KNOWN: RefCell<Known<CryptoKey>> = RefCell::default();
}

/// A key that verifies, and the edition of the set it is in: what an older edition found good must be looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey<K = CryptoKey> {
    pub key: K,
    pub edition: u64,
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    /// None has that id.
    Unknown,
    /// Nobody can tell which keys there are.
    Unread,
}

/// What is done about a key id.
#[derive(Debug, PartialEq, Eq)]
enum Look<K> {
    Found(VerifyingKey<K>),
    Missing(NoKey),
    /// KV is to be read first.
    Read,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self { keys: Vec::new(), set: Vec::new(), edition: 0, good_at_ms: None, failed_at_ms: None }
    }
}

impl<K: Clone> Known<K> {
    fn find(&self, kid: &str) -> Option<VerifyingKey<K>> {
        let (_, key) = self.keys.iter().find(|(id, _)| id == kid)?;
        Some(VerifyingKey { key: key.clone(), edition: self.edition })
    }

    /// KV is read when the keys are old, or when the id is unknown and the last read is not fresh, so that a forged id
    /// costs nothing.
    fn look(&self, kid: &str, now_ms: i64) -> Look<K> {
        let found = self.find(kid);
        let within = |at_ms: i64, span_ms| now_ms.saturating_sub(at_ms) < span_ms;
        let (rests, why) = match (self.failed_at_ms, self.good_at_ms) {
            (Some(at_ms), _) if found.is_some() => (within(at_ms, PUBLIC_KEYS_REFRESH_MS), NoKey::Unread),
            (Some(at_ms), _) => (within(at_ms, PUBLIC_KEYS_RETRY_MS), NoKey::Unread),
            (None, Some(at_ms)) if found.is_some() => (within(at_ms, PUBLIC_KEYS_TTL_MS), NoKey::Unknown),
            (None, Some(at_ms)) => (within(at_ms, PUBLIC_KEYS_REFRESH_MS), NoKey::Unknown),
            (None, None) => (false, NoKey::Unread),
        };
        if rests { found.map_or(Look::Missing(why), Look::Found) } else { Look::Read }
    }

    /// Whether the keys of before are still believed when KV cannot be read now.
    fn outlive(&self, now_ms: i64) -> bool {
        self.good_at_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < PUBLIC_KEYS_STALE_MS_MAX)
    }

    /// These are the keys from now on.
    fn replace(&mut self, keys: Vec<(String, K)>, set: Vec<Value>) {
        self.edition = self.edition.wrapping_add(u64::from(self.set != set));
        (self.keys, self.set) = (keys, set);
    }

    fn was_read(&mut self, now_ms: i64) {
        (self.good_at_ms, self.failed_at_ms) = (Some(now_ms), None);
    }

    /// Whether this is the first time since it was read.
    fn was_not_read(&mut self, now_ms: i64) -> bool {
        self.failed_at_ms.replace(now_ms).is_none()
    }
}

/// The key of that id.
///
/// # Errors
/// [`NoKey`].
pub async fn verifying_key(
    env: &Env,
    config: &Rc<Config>,
    kid: &str,
    request_id: &str,
) -> Result<VerifyingKey, NoKey> {
    match KNOWN.with_borrow(|known| known.look(kid, now_ms())) {
        Look::Found(key) => return Ok(key),
        Look::Missing(why) => return Err(why),
        Look::Read => {}
    }
    let stored = stored(env).await;
    let set = match &stored {
        Ok(stored) => Some(union(stored, config)),
        // The keys of before are better than none, for a while. Our own is known without KV.
        Err(Unread) => {
            let outlive = KNOWN.with_borrow(|known| known.outlive(now_ms()));
            (!outlive).then(|| union(&Value::Null, config))
        }
    };
    if let Some(set) = set {
        let keys = imported(&set).await;
        KNOWN.with_borrow_mut(|known| known.replace(keys, set));
    }
    let missing = if stored.is_ok() {
        KNOWN.with_borrow_mut(|known| known.was_read(now_ms()));
        NoKey::Unknown
    } else {
        if KNOWN.with_borrow_mut(|known| known.was_not_read(now_ms())) {
            log::fault_of(request_id, "public_keys_unread", UNREAD);
        }
        NoKey::Unread
    };
    KNOWN.with_borrow(|known| known.find(kid)).ok_or(missing)
}

async fn imported(set: &[Value]) -> Vec<(String, CryptoKey)> {
    let mut keys = Vec::new();
    for key in set {
        let member = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Ok(imported) = web_crypto::import_public(&member("n"), &member("e")).await {
            keys.push((member("kid"), imported));
        }
    }
    keys
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

    #[test]
    fn what_is_no_key_set_tells_nothing_of_the_keys() {
        for none in ["", "not json", "[]", "null", "{}", "{\"keys\":7}"] {
            assert!(key_set(none).is_err(), "{none}");
        }
        assert!(key_set("{\"keys\":[]}").is_ok() && key_set("{\"keys\":[7,null,{}]}").is_ok());
    }

    const NOW_MS: i64 = 1_000_000_000;

    /// As [`verifying_key`] goes on when KV answered, or did not.
    fn read(known: &mut Known<&'static str>, kids: Option<&[&'static str]>, now_ms: i64) -> bool {
        let outlive = known.outlive(now_ms);
        if let Some(kids) = kids.or_else(|| (!outlive).then_some(&["own"])) {
            known.replace(kids.iter().map(|kid| ((*kid).to_owned(), *kid)).collect(), vec![json!(kids)]);
        }
        if kids.is_some() {
            known.was_read(now_ms);
        }
        kids.is_none() && known.was_not_read(now_ms)
    }

    fn seen(known: &Known<&'static str>, kid: &str, now_ms: i64) -> Result<&'static str, Option<NoKey>> {
        match known.look(kid, now_ms) {
            Look::Found(found) => Ok(found.key),
            Look::Missing(why) => Err(Some(why)),
            Look::Read => Err(None),
        }
    }

    #[test]
    fn kv_is_read_when_keys_are_old_and_for_unknown_ids_now_and_then() {
        let mut known = Known::default();
        assert_eq!(seen(&known, "own", NOW_MS), Err(None));
        read(&mut known, Some(&["own", "old"]), NOW_MS);
        assert_eq!(seen(&known, "old", NOW_MS + PUBLIC_KEYS_TTL_MS - 1), Ok("old"));
        assert_eq!(seen(&known, "old", NOW_MS + PUBLIC_KEYS_TTL_MS), Err(None));
        let forged = |after_ms| seen(&known, "forged", NOW_MS + after_ms);
        assert_eq!(forged(PUBLIC_KEYS_REFRESH_MS - 1), Err(Some(NoKey::Unknown)));
        assert_eq!(forged(PUBLIC_KEYS_REFRESH_MS), Err(None));
    }

    #[test]
    fn while_nothing_can_be_read_no_unknown_id_is_called_forged_and_our_own_key_verifies() {
        let mut known = Known::default();
        assert!(read(&mut known, None, NOW_MS), "the first time is logged");
        assert_eq!(seen(&known, "own", NOW_MS + 1), Ok("own"));
        assert_eq!(seen(&known, "other", NOW_MS + 1), Err(Some(NoKey::Unread)));
        assert_eq!(seen(&known, "other", NOW_MS + PUBLIC_KEYS_RETRY_MS), Err(None));
        assert!(!read(&mut known, None, NOW_MS + PUBLIC_KEYS_RETRY_MS), "and no other");
        read(&mut known, Some(&["own", "other"]), NOW_MS + 5_000);
        assert_eq!(seen(&known, "other", NOW_MS + 5_001), Ok("other"));
        assert!(read(&mut known, None, NOW_MS + PUBLIC_KEYS_TTL_MS + 5_000));
    }

    #[test]
    fn keys_of_before_outlive_an_outage_and_not_for_ever() {
        let mut known = Known::default();
        read(&mut known, Some(&["own", "withdrawn"]), NOW_MS);
        let edition = known.edition;
        let last_ms = NOW_MS + PUBLIC_KEYS_STALE_MS_MAX - 1;
        for at_ms in [NOW_MS + PUBLIC_KEYS_TTL_MS, last_ms] {
            read(&mut known, None, at_ms);
            assert_eq!(seen(&known, "withdrawn", at_ms + 1), Ok("withdrawn"));
        }
        let over_ms = last_ms + PUBLIC_KEYS_REFRESH_MS;
        assert_eq!(seen(&known, "withdrawn", over_ms), Err(None));
        read(&mut known, None, over_ms);
        assert_eq!(seen(&known, "withdrawn", over_ms), Err(Some(NoKey::Unread)));
        assert_eq!((seen(&known, "own", over_ms), known.edition), (Ok("own"), edition + 1));
    }
}
