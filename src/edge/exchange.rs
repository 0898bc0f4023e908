//! `POST /auth/exchange`: an ID token of a trusted issuer for a token of ours.
//!
//! The issuer is looked up by what the token says it is, in our list and nowhere else; its keys come from where its own
//! discovery document says, and stay in this isolate for minutes.

use std::cell::RefCell;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::context::Context;
use super::error::ApiError;
use super::jwks;
use super::jwt::{self, Claims, Rejected, Unverified};
use super::limits::{
    ISSUER_KEYS_REFRESH_MS, ISSUER_KEYS_STALE_MS_MAX, ISSUER_KEYS_TTL_MS, JSON_BODY_BYTES_MAX,
};
use super::reply::Reply;
use super::{json_body, tokens};
use crate::platform::config::{TrustedIssuer, safe_url};
use crate::platform::web_crypto::{self, CryptoKey};
use crate::platform::{http, log, now_ms};

#[derive(Deserialize)]
struct ExchangeBody {
    id_token: Option<Value>,
}

/// `{id_token}` → `{token, exp, email}`.
pub async fn exchange(context: &Context) -> Result<Reply, ApiError> {
    if context.config.trusted_issuers.is_empty() {
        return Err(ApiError::ExchangeUnconfigured);
    }
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let body: ExchangeBody = json_body::parse(&bytes)?;
    let expected = "the ID token, a text";
    let id_token = body.id_token.as_ref().and_then(Value::as_str);
    let id_token = id_token.ok_or(ApiError::InvalidField { field: "id_token", expected })?;
    let claims = verified(context, id_token.trim()).await.map_err(|_| ApiError::TokenInvalid)?;
    let address = claims.email.as_deref().filter(|_| is_true(claims.email_verified.as_ref()));
    let tenant = address.and_then(|address| actors::shared::TenantId::from_email(address).ok());
    let tenant = tenant.ok_or(ApiError::EmailUnverified)?;
    let (token, exp) = tokens::mint_user(&context.config, tenant.label(), context.config.token_ttl_s).await?;
    Ok(Reply::json(200, &json!({ "token": token, "exp": exp, "email": tenant.label() })))
}

async fn verified(context: &Context, id_token: &str) -> Result<Claims, Rejected> {
    let taken = jwt::take_apart(id_token)?;
    let says = taken.claims.iss.as_deref().ok_or(Rejected)?;
    let trusted = context.config.trusted_issuers.iter().find(|trusted| trusted.issuer == says);
    let trusted = trusted.ok_or(Rejected)?;
    judge(&taken, trusted, now_ms() / 1_000)?;
    let environment = context.config.environment;
    let key = key(trusted, &taken.kid, |address| safe_url(address, environment)).await?;
    let good = web_crypto::verify(&key, taken.signed.as_bytes(), &taken.signature).await;
    if good == Ok(true) { Ok(taken.claims) } else { Err(Rejected) }
}

/// Good now, and for one of our client ids. A token for several must name us as the party it was given to.
fn judge(taken: &Unverified, trusted: &TrustedIssuer, now_s: i64) -> Result<(), Rejected> {
    let claims = &taken.claims;
    let ours = |audience: &str| trusted.audiences.iter().any(|known| known == audience);
    let for_us = match &claims.aud {
        Some(Value::String(audience)) => ours(audience),
        Some(Value::Array(list)) if list.len() == 1 => list.first().and_then(Value::as_str).is_some_and(ours),
        Some(Value::Array(list)) => {
            list.iter().any(|audience| audience.as_str().is_some_and(ours))
                && claims.azp.as_deref().is_some_and(ours)
        }
        _ => false,
    };
    let party = claims.azp.as_deref().is_none_or(ours);
    let timely = jwt::judge(&Claims { aud: None, ..claims.clone() }, &trusted.issuer, now_s).is_ok();
    if for_us && party && timely && claims.iat.is_some() { Ok(()) } else { Err(Rejected) }
}

/// Some issuers write the flag as a text.
fn is_true(flag: Option<&Value>) -> bool {
    match flag {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

/// Keys of one issuer, and when they were asked for.
struct Known {
    read_at_ms: i64,
    /// When the issuer last answered.
    good_at_ms: i64,
    keys: Vec<(String, CryptoKey)>,
}

thread_local! {
    static KNOWN: RefCell<HashMap<String, Known>> = RefCell::default();
}

async fn key(
    trusted: &TrustedIssuer,
    kid: &str,
    allowed: impl Fn(&str) -> Option<Url>,
) -> Result<CryptoKey, Rejected> {
    let now_ms = now_ms();
    let (found, age_ms, good_at_ms) = KNOWN.with_borrow(|known| match known.get(&trusted.issuer) {
        Some(known) => {
            let found = known.keys.iter().find(|(id, _)| id == kid).map(|(_, key)| key.clone());
            (found, now_ms.saturating_sub(known.read_at_ms), known.good_at_ms)
        }
        None => (None, i64::MAX, 0),
    });
    // An id that is not known makes us look again, but not for each forged one.
    let fresh_ms = if found.is_some() { ISSUER_KEYS_TTL_MS } else { ISSUER_KEYS_REFRESH_MS };
    if age_ms < fresh_ms {
        return found.ok_or(Rejected);
    }
    // Noted before it is asked, so that others who come meanwhile do not ask too.
    KNOWN.with_borrow_mut(|all| {
        let known = all.entry(trusted.issuer.clone());
        known.or_insert(Known { read_at_ms: now_ms, good_at_ms: 0, keys: Vec::new() }).read_at_ms = now_ms;
    });
    let keys = match fetched(trusted, allowed).await {
        Some(keys) => keys,
        // The keys of before are better than none while the issuer cannot be reached.
        None => {
            log::fault("issuer_keys_unreachable", &trusted.issuer);
            return found
                .filter(|_| now_ms.saturating_sub(good_at_ms) < ISSUER_KEYS_STALE_MS_MAX)
                .ok_or(Rejected);
        }
    };
    let found = keys.iter().find(|(id, _)| id == kid).map(|(_, key)| key.clone());
    let known = Known { read_at_ms: now_ms, good_at_ms: now_ms, keys };
    KNOWN.with_borrow_mut(|all| all.insert(trusted.issuer.clone(), known));
    found.ok_or(Rejected)
}

async fn fetched(
    trusted: &TrustedIssuer,
    allowed: impl Fn(&str) -> Option<Url>,
) -> Option<Vec<(String, CryptoKey)>> {
    let document = http::get_json(&trusted.discovery).await.ok()?;
    let says = |name: &str| document.get(name).and_then(Value::as_str);
    // A document of another issuer is a mistake of theirs, or somebody between.
    if says("issuer") != Some(trusted.issuer.as_str()) {
        return None;
    }
    let address = allowed(says("jwks_uri")?)?;
    let set = http::get_json(&address).await.ok()?;
    let mut keys = Vec::new();
    for (kid, modulus, exponent) in jwks::rsa_keys(&set) {
        if let Ok(key) = web_crypto::import_public(&modulus, &exponent).await {
            keys.push((kid, key));
        }
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_000_000;

    fn trusted() -> TrustedIssuer {
        TrustedIssuer {
            issuer: "https://id.example".to_owned(),
            audiences: vec!["app".to_owned(), "app-2".to_owned()],
            discovery: "https://id.example/.well-known/openid-configuration".parse().unwrap(),
        }
    }

    fn good() -> Claims {
        Claims {
            iss: Some("https://id.example".to_owned()),
            aud: Some(json!("app")),
            iat: Some(NOW_S),
            exp: Some(NOW_S + 60),
            ..Claims::default()
        }
    }

    fn judged(claims: Claims) -> bool {
        let taken = Unverified { kid: "k".to_owned(), signed: String::new(), signature: vec![], claims };
        judge(&taken, &trusted(), NOW_S).is_ok()
    }

    #[test]
    fn a_token_is_for_us_and_of_now() {
        assert!(judged(good()));
        assert!(judged(Claims { aud: Some(json!(["app-2"])), ..good() }));
        assert!(judged(Claims { aud: Some(json!(["app", "other"])), azp: Some("app".into()), ..good() }));
        for bad in [
            Claims { aud: None, ..good() },
            Claims { aud: Some(json!("other")), ..good() },
            Claims { aud: Some(json!([])), ..good() },
            Claims { aud: Some(json!(["app", "other"])), ..good() },
            Claims { azp: Some("other".into()), ..good() },
            Claims { exp: Some(NOW_S), ..good() },
            Claims { exp: None, ..good() },
            Claims { iat: None, ..good() },
            Claims { iat: Some(NOW_S + 3_600), ..good() },
            Claims { nbf: Some(NOW_S + 3_600), ..good() },
            Claims { iss: Some("https://id.example/".into()), ..good() },
        ] {
            assert!(!judged(bad.clone()), "{bad:?}");
        }
    }

    #[test]
    fn an_address_counts_only_when_the_issuer_verified_it() {
        assert!(is_true(Some(&json!(true))) && is_true(Some(&json!("true"))));
        for not in [None, Some(json!(false)), Some(json!("false")), Some(json!(1)), Some(Value::Null)] {
            assert!(!is_true(not.as_ref()), "{not:?}");
        }
    }
}
