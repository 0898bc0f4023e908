//! `POST /auth/exchange`: an ID token of a trusted issuer for a token of ours.
//!
//! The issuer is looked up by what the token says it is, in our list and nowhere else.

use serde::Deserialize;
use serde_json::Value;

use super::context::Context;
use super::error::ApiError;
use super::issuer_keys::{self, NoKey};
use super::jwt::{self, Claims, Rejected, Unverified};
use super::limits::{ID_TOKEN_AGE_S_MAX, JSON_BODY_BYTES_MAX};
use super::reply::Reply;
use super::{address_limits, cookie, json_body, tokens};
use crate::platform::config::TrustedIssuer;
use crate::platform::{now_ms, web_crypto};

#[derive(Deserialize)]
struct ExchangeBody {
    id_token: Option<Value>,
    cookie: Option<Value>,
}

/// `{id_token, cookie?}` → `{token, exp, email}`, or with `cookie` the token as one.
pub async fn exchange(context: &Context) -> Result<Reply, ApiError> {
    if context.config.trusted_issuers.is_empty() {
        return Err(ApiError::ExchangeUnconfigured);
    }
    let per_minute = context.config.exchanges_per_minute;
    address_limits::exchange(context.origin(), context.address(), per_minute, now_ms()).await?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let body: ExchangeBody = json_body::parse(&bytes)?;
    let expected = "the ID token, a text";
    let id_token = body.id_token.as_ref().and_then(Value::as_str);
    let id_token = id_token.ok_or(ApiError::InvalidField { field: "id_token", expected })?;
    let as_cookie = cookie::wanted(context, body.cookie.as_ref())?;
    let (claims, trusted) = verified(context, id_token.trim()).await?;
    let address = claims.email.as_deref().filter(|_| is_true(claims.email_verified.as_ref()));
    let tenant = address.and_then(|address| actors::shared::TenantId::from_email(address).ok());
    let tenant = tenant.ok_or(ApiError::EmailUnverified)?;
    if !trusted.may_vouch_for(tenant.label()) {
        return Err(ApiError::EmailDomainForbidden);
    }
    let (token, exp) = tokens::mint_user(&context.config, tenant.label(), context.config.token_ttl_s).await?;
    Ok(cookie::hand_over(context, &token, exp, Some(tenant.label()), as_cookie))
}

/// What a good token says, and who says it.
///
/// # Errors
/// `TokenInvalid`; `Unavailable` when its issuer cannot be asked for its keys: the token may be good.
async fn verified<'a>(context: &'a Context, id_token: &str) -> Result<(Claims, &'a TrustedIssuer), ApiError> {
    let (taken, trusted) = promising(context, id_token).map_err(|_| ApiError::TokenInvalid)?;
    let key =
        issuer_keys::verifying_key(trusted, &taken.kid, context.config.environment, &context.request_id)
            .await;
    let key = key.map_err(|missing| match missing {
        NoKey::Unknown => ApiError::TokenInvalid,
        NoKey::Unreachable => ApiError::Unavailable,
    })?;
    let good = web_crypto::verify(&key, taken.signed.as_bytes(), &taken.signature).await;
    if good == Ok(true) { Ok((taken.claims, trusted)) } else { Err(ApiError::TokenInvalid) }
}

/// A token that is good if its signature is, and the issuer it names.
fn promising<'a>(context: &'a Context, id_token: &str) -> Result<(Unverified, &'a TrustedIssuer), Rejected> {
    let taken = jwt::take_apart(id_token)?;
    let says = taken.claims.iss.as_deref().ok_or(Rejected)?;
    let trusted = context.config.trusted_issuers.iter().find(|trusted| trusted.issuer == says);
    let trusted = trusted.ok_or(Rejected)?;
    judge(&taken, trusted, now_ms() / 1_000)?;
    Ok((taken, trusted))
}

/// Good now, of today, and for one of our client ids. A token for several must name us as the party it was given to.
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
    // An issuer may let it live for years; here it says that somebody signed in just now.
    let recent = claims.iat.is_some_and(|iat| iat > now_s.saturating_sub(ID_TOKEN_AGE_S_MAX));
    if for_us && party && timely && recent { Ok(()) } else { Err(Rejected) }
}

/// Some issuers write the flag as a text.
fn is_true(flag: Option<&Value>) -> bool {
    match flag {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW_S: i64 = 1_000_000;

    fn trusted() -> TrustedIssuer {
        TrustedIssuer {
            issuer: "https://id.example".to_owned(),
            audiences: vec!["app".to_owned(), "app-2".to_owned()],
            email_domains: None,
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
        assert!(judged(Claims { iat: Some(NOW_S + 1 - ID_TOKEN_AGE_S_MAX), ..good() }));
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
            Claims { iat: Some(NOW_S - ID_TOKEN_AGE_S_MAX), exp: Some(NOW_S + 315_360_000), ..good() },
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
