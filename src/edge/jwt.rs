//! Tokens without keys: taking one apart, deciding which key could have signed it, judging its claims.
//!
//! RS256 only. Headers that tell a verifier where to find a key, or to understand something more, are
//! refused: the only keys are our own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::limits::{CLOCK_LEEWAY_S, TOKEN_BYTES_MAX};

/// The token is not one of ours. It is never said why: that would help only who forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected;

/// A token taken apart; nothing in it is believed yet.
#[derive(Debug)]
pub struct Unverified {
    pub kid: String,
    pub signed: String,
    pub signature: Vec<u8>,
    pub claims: Claims,
}

/// What tokens say. Every field may be absent: an absent `exp` is judged, not assumed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Of ID tokens: whether the issuer verified the address, and to whom it gave the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub em: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<Value>,
}

const FORBIDDEN: &[&str] = &["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"];

/// Takes a token apart.
///
/// # Errors
/// [`Rejected`] for anything that is not three parts with an RS256 header naming a key.
pub fn take_apart(token: &str) -> Result<Unverified, Rejected> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Rejected);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Rejected)?;
    let (raw_header, raw_claims) = signed.split_once('.').ok_or(Rejected)?;
    let members: Map<String, Value> = decode(raw_header)?;
    if FORBIDDEN.iter().any(|name| members.contains_key(*name)) {
        return Err(Rejected);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Rejected)?;
    let kind_fits = header.typ.is_none_or(|kind| kind.eq_ignore_ascii_case("jwt"));
    if header.alg != Algorithm::RS256 || !kind_fits {
        return Err(Rejected);
    }
    Ok(Unverified {
        kid: header.kid.ok_or(Rejected)?,
        signed: signed.to_owned(),
        signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| Rejected)?,
        claims: decode(raw_claims)?,
    })
}

/// Whether verified claims are good now and here.
///
/// # Errors
/// [`Rejected`] for another issuer, an absent or past `exp`, a future `nbf` or `iat`, an audience not ours.
pub fn judge(claims: &Claims, issuer: &str, now_s: i64) -> Result<(), Rejected> {
    let soon = now_s.saturating_add(CLOCK_LEEWAY_S);
    let ours = claims.iss.as_deref() == Some(issuer);
    let alive = claims.exp.is_some_and(|exp| exp > now_s);
    let begun = claims.nbf.is_none_or(|nbf| nbf <= soon) && claims.iat.is_none_or(|iat| iat <= soon);
    let for_us = match &claims.aud {
        None => true,
        Some(Value::String(audience)) => audience == issuer,
        Some(Value::Array(list)) => list.iter().any(|audience| audience.as_str() == Some(issuer)),
        Some(_) => false,
    };
    if ours && alive && begun && for_us { Ok(()) } else { Err(Rejected) }
}

/// Header and claims, ready to be signed.
pub fn compose(kid: &str, claims: &Claims) -> Option<String> {
    let header = serde_json::json!({ "alg": "RS256", "typ": "JWT", "kid": kid });
    let claims = serde_json::to_vec(claims).ok()?;
    let (header, claims) = (URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
    Some(format!("{header}.{claims}"))
}

/// The whole token.
pub fn attach(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Rejected> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejected)?;
    // Of members that nobody asked for, the parser would not look whether they are text.
    let text = std::str::from_utf8(&bytes).map_err(|_| Rejected)?;
    serde_json::from_str(text).map_err(|_| Rejected)
}

/// The token in an `Authorization` header: `Bearer eyJ…`, or as one client sends it, `Bearer {"token":"eyJ…"}`.
pub fn bearer(header: &str) -> Option<String> {
    let (scheme, rest) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let rest = rest.trim();
    if rest.starts_with('{') {
        let object: Map<String, Value> = serde_json::from_str(rest).ok()?;
        return object.get("token").and_then(Value::as_str).map(str::to_owned);
    }
    Some(rest.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    #[test]
    fn only_plain_rs256_headers_are_taken() {
        let good = json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" });
        let taken = take_apart(&token(&good, &json!({ "sub": "guest:1" }))).unwrap();
        assert_eq!((taken.kid.as_str(), taken.claims.sub.as_deref()), ("k1", Some("guest:1")));
        for bad in [
            json!({ "alg": "none", "kid": "k1" }),
            json!({ "alg": "HS256", "kid": "k1" }),
            json!({ "alg": "RS512", "kid": "k1" }),
            json!({ "alg": "RS256" }),
            json!({ "alg": "RS256", "kid": "k1", "crit": ["x"] }),
            json!({ "alg": "RS256", "kid": "k1", "jku": "https://evil.io" }),
            json!({ "alg": "RS256", "kid": "k1", "x5u": "https://evil.io" }),
            json!({ "alg": "RS256", "kid": "k1", "jwk": {} }),
            json!({ "alg": "RS256", "kid": "k1", "typ": "at+jwt" }),
        ] {
            assert_eq!(take_apart(&token(&bad, &json!({}))).err(), Some(Rejected), "{bad}");
        }
        let long = token(&good, &json!({ "sub": "x".repeat(9_000) }));
        assert_eq!(take_apart(&long).err(), Some(Rejected));
    }

    #[test]
    fn what_is_no_text_is_no_token() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"k1"}"#);
        let with = |unknown: &[u8]| {
            let claims = [br#"{"sub":"guest:1","unknown":""#, unknown, br#""}"#].concat();
            take_apart(&format!("{header}.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))).err()
        };
        assert_eq!(with(b"me@x.io"), None);
        assert_eq!(with(b"me@x\xaeio"), Some(Rejected));
    }

    #[test]
    fn claims_are_good_here_and_now_or_not_at_all() {
        let good = Claims { iss: Some("us".into()), exp: Some(1_001), ..Claims::default() };
        assert_eq!(judge(&good, "us", 1_000), Ok(()));
        for bad in [
            Claims { exp: Some(1_000), ..good.clone() },
            Claims { exp: None, ..good.clone() },
            Claims { iss: None, ..good.clone() },
            Claims { iss: Some("them".into()), ..good.clone() },
            Claims { nbf: Some(1_061), ..good.clone() },
            Claims { iat: Some(1_061), ..good.clone() },
            Claims { aud: Some(json!("them")), ..good.clone() },
            Claims { aud: Some(json!(["them"])), ..good.clone() },
            Claims { aud: Some(json!(7)), ..good.clone() },
        ] {
            assert_eq!(judge(&bad, "us", 1_000), Err(Rejected), "{bad:?}");
        }
        assert_eq!(judge(&Claims { aud: Some(json!(["us"])), ..good }, "us", 1_000), Ok(()));
    }

    #[test]
    fn tokens_are_found_where_clients_put_them() {
        assert_eq!(bearer("Bearer abc"), Some("abc".into()));
        assert_eq!(bearer("bearer  abc "), Some("abc".into()));
        assert_eq!(bearer(r#"Bearer {"token":"abc","exp":1}"#), Some("abc".into()));
        assert_eq!(bearer(r#"Bearer {"exp":1}"#), None);
        assert_eq!(bearer("Basic abc"), None);
    }

    proptest! {
        #[test]
        fn anything_can_be_thrown_at_it(text in "\\PC{0,300}") {
            let _taken = take_apart(&text);
            let _bearer = bearer(&text);
        }
    }
}
