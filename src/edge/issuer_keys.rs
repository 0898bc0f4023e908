//! Keys of the issuers we trust: from where their own discovery document says, kept in this isolate for minutes.
//!
//! A key id that is not known makes us look again, at once the first time, so that an issuer may change its keys
//! whenever it likes, and then not for a while, so that forged ids make it no work.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::Value;

use super::jwks;
use super::limits::{
    ISSUER_KEYS_ASK_MS_MAX, ISSUER_KEYS_REFRESH_MS, ISSUER_KEYS_RETRY_MS, ISSUER_KEYS_STALE_MS_MAX,
    ISSUER_KEYS_TTL_MS,
};
use crate::platform::config::{Environment, TrustedIssuer, safe_url};
use crate::platform::web_crypto::{self, CryptoKey};
use crate::platform::{http, log, now_ms, timer};

/// How often a request looks whether the answer that another one waits for is there.
const LOOK_INTERVAL_MS: u32 = 20;

/// Keys of one issuer, and what was done to have them. Times are in milliseconds.
struct Known<K> {
    keys: Vec<(String, K)>,
    /// When the issuer was last asked, and when it last answered.
    asked_at: Option<i64>,
    good_at: i64,
    /// When a key id that was not known last made us ask.
    missed_at: Option<i64>,
    /// Since when a request has been asking.
    asking_since: Option<i64>,
    /// When it was last asked for nothing, and why.
    failed: Option<(i64, NoKey)>,
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    /// The issuer has none of that id, or is not who it should be.
    Unknown,
    /// Nobody can tell: the issuer does not answer.
    Unreachable,
}

#[derive(Debug, PartialEq, Eq)]
enum Look<K> {
    Found(K),
    /// No key has that id, and it is too soon to ask again.
    Rejected,
    /// Ask; it is noted that somebody does.
    Ask,
    /// Somebody is asking.
    Wait,
    /// It was asked for nothing a moment ago.
    Failed(NoKey),
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            asked_at: None,
            good_at: 0,
            missed_at: None,
            asking_since: None,
            failed: None,
        }
    }
}

impl<K: Clone> Known<K> {
    fn look(&mut self, kid: &str, now: i64) -> Look<K> {
        let within = |since: Option<i64>, span| since.is_some_and(|at| now.saturating_sub(at) < span);
        let usable = within(Some(self.good_at), ISSUER_KEYS_STALE_MS_MAX);
        let found = self.keys.iter().find(|(id, _)| id == kid).map(|(_, key)| key.clone());
        let found = found.filter(|_| usable);
        let asking = within(self.asking_since, ISSUER_KEYS_ASK_MS_MAX);
        let fresh = within(self.asked_at, ISSUER_KEYS_TTL_MS);
        if let (None, Some((at, why)), false) = (&found, self.failed, asking)
            && within(Some(at), ISSUER_KEYS_RETRY_MS)
        {
            return Look::Failed(why);
        }
        match found {
            // The keys of before are good while newer ones are on their way, or cannot be had.
            Some(key) if fresh || asking => return Look::Found(key),
            None if asking => return Look::Wait,
            None if fresh && within(self.missed_at, ISSUER_KEYS_REFRESH_MS) => return Look::Rejected,
            None if fresh => self.missed_at = Some(now),
            _ => {}
        }
        self.asking_since = Some(now);
        self.asked_at = Some(now);
        Look::Ask
    }

    /// What came of asking.
    fn answered(&mut self, keys: Result<Vec<(String, K)>, NoKey>, now: i64) {
        self.asking_since = None;
        match keys {
            Ok(keys) => {
                self.keys = keys;
                self.good_at = now;
                self.failed = None;
            }
            // What was not answered was not looked at: it is asked again soon, for an id that is not known.
            Err(why) => {
                self.failed = Some((now, why));
                self.missed_at = None;
            }
        }
    }

    /// A key that there is, however it was asked for.
    fn any(&self, kid: &str, now: i64) -> Option<K> {
        let usable = now.saturating_sub(self.good_at) < ISSUER_KEYS_STALE_MS_MAX;
        self.keys.iter().find(|(id, _)| usable && id == kid).map(|(_, key)| key.clone())
    }
}

thread_local! {
    static KNOWN: RefCell<HashMap<String, Known<CryptoKey>>> = RefCell::default();
}

fn with_known<T>(trusted: &TrustedIssuer, work: impl FnOnce(&mut Known<CryptoKey>) -> T) -> T {
    KNOWN.with_borrow_mut(|all| work(all.entry(trusted.issuer.clone()).or_default()))
}

/// The issuer's key of that id.
///
/// # Errors
/// [`NoKey`].
pub async fn verifying_key(
    trusted: &TrustedIssuer,
    kid: &str,
    environment: Environment,
    request_id: &str,
) -> Result<CryptoKey, NoKey> {
    loop {
        match with_known(trusted, |known| known.look(kid, now_ms())) {
            Look::Found(key) => return Ok(key),
            Look::Rejected => return Err(NoKey::Unknown),
            Look::Failed(why) => return Err(why),
            Look::Wait => timer::sleep(LOOK_INTERVAL_MS).await,
            Look::Ask => break,
        }
    }
    let keys = fetched(trusted, environment).await;
    let missing = keys.as_ref().err().copied().unwrap_or(NoKey::Unknown);
    if keys.is_err() {
        log::fault_of(request_id, "issuer_keys_unreachable", &trusted.issuer);
    }
    with_known(trusted, |known| {
        known.answered(keys, now_ms());
        known.any(kid, now_ms()).ok_or(missing)
    })
}

async fn fetched(
    trusted: &TrustedIssuer,
    environment: Environment,
) -> Result<Vec<(String, CryptoKey)>, NoKey> {
    let document = http::get_json(&trusted.discovery).await.map_err(|_| NoKey::Unreachable)?;
    let says = |name: &str| document.get(name).and_then(Value::as_str);
    // A document of another issuer is a mistake of theirs, or somebody between.
    if says("issuer") != Some(trusted.issuer.as_str()) {
        return Err(NoKey::Unknown);
    }
    let address = says("jwks_uri").and_then(|uri| safe_url(uri, environment)).ok_or(NoKey::Unknown)?;
    let set = http::get_json(&address).await.map_err(|_| NoKey::Unreachable)?;
    let mut keys = Vec::new();
    for (kid, modulus, exponent) in jwks::rsa_keys(&set) {
        if let Ok(key) = web_crypto::import_public(&modulus, &exponent).await {
            keys.push((kid, key));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn answered(kids: &[&str], now: i64) -> Known<String> {
        let mut known = Known::default();
        assert_eq!(known.look("any", now), Look::Ask);
        known.answered(Ok(keys(kids)), now);
        known
    }

    fn keys(kids: &[&str]) -> Vec<(String, String)> {
        kids.iter().map(|kid| ((*kid).to_owned(), (*kid).to_owned())).collect()
    }

    fn found(kid: &str) -> Look<String> {
        Look::Found(kid.to_owned())
    }

    #[test]
    fn who_comes_while_it_is_asked_waits_and_is_not_refused() {
        let mut known = Known::default();
        assert_eq!(known.look("a", NOW), Look::Ask);
        assert_eq!(known.look("a", NOW + 1), Look::Wait);
        known.answered(Ok(keys(&["a"])), NOW + 2);
        assert_eq!(known.look("a", NOW + 3), found("a"));
        // Whoever asked may have gone away in the middle of it.
        assert_eq!(known.look("b", NOW + 4), Look::Ask);
        assert_eq!(known.look("b", NOW + 3 + ISSUER_KEYS_ASK_MS_MAX), Look::Wait);
        assert_eq!(known.look("a", NOW + 3 + ISSUER_KEYS_ASK_MS_MAX), found("a"));
    }

    #[test]
    fn a_new_key_is_looked_for_at_once_and_forged_ids_only_now_and_then() {
        let mut known = answered(&["a"], NOW);
        assert_eq!(known.look("b", NOW + 1), Look::Ask, "the issuer may have changed its keys just now");
        known.answered(Ok(keys(&["a", "b"])), NOW + 2);
        assert_eq!(known.look("b", NOW + 3), found("b"));
        for n in 0..20 {
            assert_eq!(known.look("forged", NOW + 3 + n), Look::Rejected);
        }
        assert_eq!(known.look("forged", NOW + 1 + ISSUER_KEYS_REFRESH_MS), Look::Ask);
    }

    #[test]
    fn keys_of_before_serve_while_the_issuer_cannot_be_reached_and_not_for_ever() {
        let mut known = answered(&["a"], NOW);
        let later = NOW + ISSUER_KEYS_TTL_MS;
        assert_eq!(known.look("a", later), Look::Ask);
        assert_eq!(known.look("a", later + 1), found("a"), "others need not wait for newer ones");
        known.answered(Err(NoKey::Unreachable), later + 2);
        assert_eq!(known.any("a", later + 2), Some("a".to_owned()));
        assert_eq!(known.look("a", later + 3), found("a"));
        let stale = NOW + ISSUER_KEYS_STALE_MS_MAX;
        assert_eq!(known.look("a", stale), Look::Ask);
        known.answered(Err(NoKey::Unreachable), stale + 1);
        assert_eq!(known.any("a", stale + 1), None);
        assert_eq!(
            known.look("a", stale + 2),
            Look::Failed(NoKey::Unreachable),
            "nobody can tell, and not for long"
        );
        let again = stale + 1 + ISSUER_KEYS_RETRY_MS;
        assert_eq!(known.look("a", again), Look::Ask, "a key that is not believed any more is looked for");
        known.answered(Ok(keys(&["a"])), again + 1);
        assert_eq!(known.look("a", again + 2), found("a"), "an outage leaves nothing behind");
    }

    #[test]
    fn a_key_that_was_withdrawn_ends() {
        let mut known = answered(&["a"], NOW);
        let later = NOW + ISSUER_KEYS_TTL_MS;
        assert_eq!(known.look("a", later), Look::Ask);
        known.answered(Ok(keys(&["b"])), later);
        assert_eq!(known.any("a", later), None);
    }
}
