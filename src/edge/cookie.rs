//! The token as a cookie: its names, how it is set and cleared, and which of several counts.
//!
//! A browser sends a cookie by itself, so it is set, cleared and, for anything but reading, believed only for pages of
//! an allowed origin. `__Host-` is the browser's promise that this very host set it, over TLS and for no wider domain;
//! a neighbour on the same domain can set the name without it, so that one never speaks where the other does.

use serde_json::{Map, Value, json};

use super::api_key;
use super::context::Context;
use super::error::ApiError;
use super::reply::Reply;
use super::{jwt, tokens};
use crate::platform::config::{Config, Environment};
use crate::platform::now_ms;

/// The name where the API is reached over TLS.
const HOST_NAME: &str = "__Host-cog_auth_jwt";
/// The name that clients have always sent, and the one that is set without TLS, on a developer's machine.
const PLAIN_NAME: &str = "cog_auth_jwt";
/// Never for scripts, never from another site's page, for every path of this host.
const ATTRIBUTES: &str = "Path=/; HttpOnly; SameSite=Strict";

/// What a `Cookie` header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    None,
    Token(String),
    /// Several of one name that differ: somebody put one beside ours, and nobody can tell which.
    Ambiguous,
}

/// The token in a `Cookie` header. When there is a `__Host-` one, no other counts, whatever either says: an empty one is
/// a token that is none, and no reason to take the caller for nobody.
pub fn find(header: &str) -> Found {
    let pairs = || header.split(';').filter_map(|pair| pair.trim().split_once('='));
    let present = pairs().any(|(name, _)| name == HOST_NAME);
    let name = if present { HOST_NAME } else { PLAIN_NAME };
    let mut values = pairs().filter(|(known, _)| *known == name).map(|(_, value)| value.trim_matches('"'));
    let Some(first) = values.next() else {
        return Found::None;
    };
    if values.any(|other| other != first) {
        return Found::Ambiguous;
    }
    if first.is_empty() && !present { Found::None } else { Found::Token(first.to_owned()) }
}

/// Whether browsers reach this deployment over TLS, without which they refuse a `__Host-` cookie.
fn over_tls(config: &Config) -> bool {
    config.environment == Environment::Production || config.issuer.starts_with("https://")
}

/// The cookie's name here, and the header that sets it for `max_age_s` seconds.
fn set(config: &Config, token: &str, max_age_s: i64) -> (&'static str, String) {
    let (name, secure) = if over_tls(config) { (HOST_NAME, "; Secure") } else { (PLAIN_NAME, "") };
    (name, format!("{name}={token}; Max-Age={max_age_s}; {ATTRIBUTES}{secure}"))
}

/// The headers that clear it, under both names: a browser may still have one of before.
fn clear() -> [String; 2] {
    [
        format!("{HOST_NAME}=; Max-Age=0; {ATTRIBUTES}; Secure"),
        format!("{PLAIN_NAME}=; Max-Age=0; {ATTRIBUTES}"),
    ]
}

/// Whether a body's `cookie` asks for one.
///
/// # Errors
/// `InvalidField`; `OriginForbidden` when it does and no page of ours asked: a stranger's page could otherwise sign its
/// visitor in as somebody.
pub fn wanted(context: &Context, cookie: Option<&Value>) -> Result<bool, ApiError> {
    match cookie {
        None | Some(Value::Null | Value::Bool(false)) => Ok(false),
        Some(Value::Bool(true)) => context.require_our_page().map(|()| true),
        Some(_) => Err(ApiError::InvalidField { field: "cookie", expected: "true or false" }),
    }
}

/// A new token as its body, or as a cookie: then it is not in the body, where scripts could read it.
pub fn hand_over(context: &Context, token: &str, exp: i64, email: Option<&str>, as_cookie: bool) -> Reply {
    let mut body = Map::new();
    body.insert("exp".to_owned(), json!(exp));
    if let Some(email) = email {
        body.insert("email".to_owned(), json!(email));
    }
    if !as_cookie {
        body.insert("token".to_owned(), json!(token));
        return Reply::json(200, &Value::Object(body));
    }
    let max_age_s = exp.saturating_sub(now_ms() / 1_000).max(0);
    let (name, header) = set(&context.config, token, max_age_s);
    body.insert("cookie".to_owned(), json!(name));
    Reply::json(200, &Value::Object(body)).with("set-cookie", header)
}

/// `POST /auth/cookie` with a token as `Authorization`, from one of our pages: the same token as a cookie.
/// → `{exp, cookie}`.
pub async fn keep(context: &Context) -> Result<Reply, ApiError> {
    context.require_our_page()?;
    let header = context.inbound.header_filled("authorization").ok_or(ApiError::MissingEmail)?;
    // A key for programs has no business in a browser.
    let token = jwt::bearer(&header).filter(|token| !api_key::is_meant(token));
    let token = token.ok_or(ApiError::TokenInvalid)?;
    let claims = tokens::verify(&context.env, &context.config, &token, &context.request_id).await?;
    let exp = claims.exp.ok_or(ApiError::TokenInvalid)?;
    Ok(hand_over(context, &token, exp, None, true))
}

/// `POST /auth/logout` from one of our pages: clears the cookie, good or not. → `{ok}`.
pub fn logout(context: &Context) -> Result<Reply, ApiError> {
    context.require_our_page()?;
    let reply = Reply::json(200, &json!({ "ok": true }));
    Ok(clear().into_iter().fold(reply, |reply, header| reply.with("set-cookie", header)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(text: &str) -> Found {
        Found::Token(text.to_owned())
    }

    #[test]
    fn a_host_cookie_silences_every_other() {
        for (header, expected) in [
            ("a=1; cog_auth_jwt=abc; b=2", token("abc")),
            ("cog_auth_jwt=\"abc\"", token("abc")),
            ("xcog_auth_jwt=abc", Found::None),
            ("Cog_auth_jwt=abc", Found::None),
            ("cog_auth_jwt=", Found::None),
            ("cog_auth_jwt=a; __Host-cog_auth_jwt=b", token("b")),
            ("__Host-cog_auth_jwt=b; cog_auth_jwt=a", token("b")),
            ("__host-cog_auth_jwt=b; cog_auth_jwt=a", token("a")),
            ("__Host-cog_auth_jwt=; cog_auth_jwt=a", token("")),
            ("__Host-cog_auth_jwt=", token("")),
            ("cog_auth_jwt=a; cog_auth_jwt=a", token("a")),
            ("cog_auth_jwt=a; cog_auth_jwt=b", Found::Ambiguous),
            ("cog_auth_jwt=a; cog_auth_jwt=", Found::Ambiguous),
            ("__Host-cog_auth_jwt=a; __Host-cog_auth_jwt=b", Found::Ambiguous),
            ("cog_auth_jwt=a; cog_auth_jwt=b; __Host-cog_auth_jwt=c", token("c")),
        ] {
            assert_eq!(find(header), expected, "{header}");
        }
    }

    #[test]
    fn both_names_are_cleared_as_they_were_set() {
        let [host, plain] = clear();
        assert!(host.starts_with("__Host-cog_auth_jwt=; Max-Age=0; Path=/;") && host.ends_with("; Secure"));
        assert!(plain.starts_with("cog_auth_jwt=; Max-Age=0; Path=/;"));
        assert!(!host.contains("Domain") && !plain.contains("Domain"));
    }

    proptest! {
        #[test]
        fn anything_can_be_thrown_at_it(text in "\\PC{0,300}") {
            let _found = find(&text);
        }
    }
}
