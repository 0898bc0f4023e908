//! Tokens with keys: signing guest tokens, and verifying any, each token once per isolate.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use worker::Env;

use super::error::ApiError;
use super::jwks::{self, NoKey};
use super::jwt::{self, Claims};
use super::limits::VERIFIED_TOKENS_MAX;
use crate::platform::config::Config;
use crate::platform::web_crypto::{self, CryptoKey};
use crate::platform::{now_ms, random_id};

/// The role in a guest's token.
pub const GUEST: &str = "guest";
/// The role in a user's token.
const USER: &str = "user";

thread_local! {
    static SIGNING_KEY: RefCell<Option<CryptoKey>> = const { RefCell::new(None) };
    static VERIFIED: RefCell<Verified> = RefCell::new(Verified::default());
}

/// Signs a token for a new guest: the token and when it expires, in seconds.
///
/// # Errors
/// `SigningUnconfigured` without a usable key.
pub async fn mint_guest(config: &Config) -> Result<(String, i64), ApiError> {
    let sub = Some(format!("guest:{}", random_id()));
    let claims = Claims { sub, role: Some(GUEST.to_owned()), ..Claims::default() };
    mint(config, claims, config.token_ttl_s).await
}

/// Signs a token for a user whose address somebody we trust has verified; it lives for `ttl_s` seconds.
///
/// # Errors
/// `SigningUnconfigured` without a usable key.
pub async fn mint_user(config: &Config, email: &str, ttl_s: i64) -> Result<(String, i64), ApiError> {
    let (sub, address) = (Some(email.to_owned()), Some(email.to_owned()));
    let claims = Claims { sub, email: address, role: Some(USER.to_owned()), ..Claims::default() };
    mint(config, claims, ttl_s).await
}

async fn mint(config: &Config, claims: Claims, ttl_s: i64) -> Result<(String, i64), ApiError> {
    let iat = now_ms() / 1_000;
    let exp = iat.saturating_add(ttl_s);
    let claims = Claims { iss: Some(config.issuer.clone()), iat: Some(iat), exp: Some(exp), ..claims };
    let signed = jwt::compose(&config.kid, &claims).ok_or(ApiError::SigningUnconfigured)?;
    let key = signing_key(config).await?;
    let signature =
        web_crypto::sign(&key, signed.as_bytes()).await.map_err(|_| ApiError::SigningUnconfigured)?;
    Ok((jwt::attach(&signed, &signature), exp))
}

/// The imported key, shared by all requests of this isolate. A key, not a promise: requests must not share those.
async fn signing_key(config: &Config) -> Result<CryptoKey, ApiError> {
    if let Some(key) = SIGNING_KEY.with_borrow(Clone::clone) {
        return Ok(key);
    }
    let own = config.signing.as_ref().map_err(|_| ApiError::SigningUnconfigured)?;
    let key = web_crypto::import_private(own.pkcs8_der.as_bytes())
        .await
        .map_err(|_| ApiError::SigningUnconfigured)?;
    SIGNING_KEY.set(Some(key.clone()));
    Ok(key)
}

/// Verifies a token: signature by a key of ours, and claims that are good now.
///
/// # Errors
/// `TokenInvalid`; it is never said why. `Unavailable` when nobody can tell whether its key is one of ours.
pub async fn verify(
    env: &Env,
    config: &Rc<Config>,
    token: &str,
    request_id: &str,
) -> Result<Claims, ApiError> {
    let now_s = now_ms() / 1_000;
    let judge =
        |claims: &Claims| jwt::judge(claims, &config.issuer, now_s).map_err(|_| ApiError::TokenInvalid);
    if let Some(seen) = VERIFIED.with_borrow(|verified| verified.tokens.get(token).cloned()) {
        judge(&seen.claims)?;
        // A key that was withdrawn takes its tokens along, those that were seen before too.
        let key = jwks::verifying_key(env, config, &seen.kid, request_id).await.map_err(without_key)?;
        if key.edition == seen.edition {
            return Ok(seen.claims);
        }
    }
    let taken = jwt::take_apart(token).map_err(|_| ApiError::TokenInvalid)?;
    // Claims first: they cost nothing, and a signature is not worth checking on a dead token.
    judge(&taken.claims)?;
    let key = jwks::verifying_key(env, config, &taken.kid, request_id).await.map_err(without_key)?;
    let good = web_crypto::verify(&key.key, taken.signed.as_bytes(), &taken.signature).await;
    if good != Ok(true) {
        return Err(ApiError::TokenInvalid);
    }
    let seen = Seen { kid: taken.kid, edition: key.edition, claims: taken.claims.clone() };
    VERIFIED.with_borrow_mut(|verified| verified.remember(token, seen));
    Ok(taken.claims)
}

fn without_key(why: NoKey) -> ApiError {
    match why {
        NoKey::Unknown => ApiError::TokenInvalid,
        NoKey::Unread => ApiError::Unavailable,
    }
}

/// A token whose signature was found good, by which key, and in which edition of the keys.
#[derive(Clone)]
struct Seen {
    kid: String,
    edition: u64,
    claims: Claims,
}

/// Such tokens, the oldest forgotten first. Time is judged at every use.
#[derive(Default)]
struct Verified {
    tokens: HashMap<String, Seen>,
    order: VecDeque<String>,
}

impl Verified {
    fn remember(&mut self, token: &str, seen: Seen) {
        if self.tokens.insert(token.to_owned(), seen).is_none() {
            self.order.push_back(token.to_owned());
        }
        while self.order.len() > VERIFIED_TOKENS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.tokens.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_tokens_are_bounded() {
        let mut verified = Verified::default();
        let seen = || Seen { kid: String::new(), edition: 0, claims: Claims::default() };
        for n in 0..VERIFIED_TOKENS_MAX + 10 {
            verified.remember(&n.to_string(), seen());
            verified.remember(&n.to_string(), seen());
        }
        assert_eq!(verified.tokens.len(), VERIFIED_TOKENS_MAX);
        assert_eq!(verified.order.len(), VERIFIED_TOKENS_MAX);
        assert!(!verified.tokens.contains_key("9") && verified.tokens.contains_key("10"));
    }
}
