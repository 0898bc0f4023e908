//! Guest tokens and the public keys that verify them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::context::Context;
use super::error::ApiError;
use super::limits::{JSON_BODY_BYTES_MAX, USER_TOKEN_TTL_S_MAX};
use super::reply::Reply;
use super::{address_limits, cookie, json_body, jwks, tokens, turnstile};
use crate::platform::now_ms;

/// What may come along: the challenge's answer, under a name of ours or that of the widget's form field, and whether
/// the token shall be a cookie.
#[derive(Default, Deserialize)]
struct GuestBody {
    turnstile_token: Option<Value>,
    #[serde(rename = "cf-turnstile-response")]
    widget: Option<Value>,
    cookie: Option<Value>,
}

/// `POST /auth/guest` `{turnstile_token?, cookie?}` → `{token, exp}`, or with `cookie` the token as one.
pub async fn guest(context: &Context) -> Result<Reply, ApiError> {
    let config = &context.config;
    let origin = context.origin();
    address_limits::guest_token(origin, context.address(), config.guest_tokens_per_minute, now_ms()).await?;
    let body = guest_body(context).await?;
    let as_cookie = cookie::wanted(context, body.cookie.as_ref())?;
    turnstile::check(context, body.turnstile_token.or(body.widget)).await?;
    // What is left for all guests is only taken by who would be given a token.
    address_limits::guest_of_all(origin, config.guest_tokens_per_day, now_ms()).await?;
    let (token, exp) = tokens::mint_guest(&context.config).await?;
    Ok(cookie::hand_over(context, &token, exp, None, as_cookie))
}

/// A body that is not said to be JSON was never looked at where nothing in it was needed, and clients send some.
async fn guest_body(context: &Context) -> Result<GuestBody, ApiError> {
    let answered = context.inbound.header_filled(turnstile::ANSWER_HEADER).is_some();
    let needed = context.config.turnstile.is_some() && !answered;
    if !needed && !context.inbound.says_json() {
        return Ok(GuestBody::default());
    }
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(GuestBody::default());
    }
    json_body::parse(&bytes)
}

#[derive(Deserialize)]
struct TokenBody {
    email: Option<Value>,
    ttl_s: Option<Value>,
}

/// The shortest life of a token, in seconds, as for guests.
const TOKEN_TTL_S_MIN: i64 = 60;

/// `POST /api/admin/tokens` by a backend that signs its own users in: `{email, ttl_s?}` → `{token, exp, email}`.
pub async fn user_token(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let body: TokenBody = json_body::parse(&bytes)?;
    let user = context.named_by_operator(body.email.as_ref())?;
    if user.tenant.is_guest() {
        // Nobody whom a backend could have signed in.
        return Err(ApiError::InvalidEmail);
    }
    let expected = "whole seconds from 60 to 604800";
    let ttl_s = match body.ttl_s.filter(|ttl| !ttl.is_null()) {
        None => context.config.token_ttl_s,
        Some(ttl) => ttl
            .as_i64()
            .filter(|ttl| (TOKEN_TTL_S_MIN..=USER_TOKEN_TTL_S_MAX).contains(ttl))
            .ok_or(ApiError::InvalidField { field: "ttl_s", expected })?,
    };
    let email = user.tenant.label();
    let (token, exp) = tokens::mint_user(&context.config, email, ttl_s).await?;
    Ok(Reply::json(200, &json!({ "token": token, "exp": exp, "email": email })))
}

/// `GET /.well-known/jwks.json`: public members only. The one JSON reply that may be cached.
///
/// # Errors
/// `Unavailable` when it is not known which keys are published beside our own.
pub async fn jwks(context: &Context) -> Result<Reply, ApiError> {
    let keys = jwks::served(&context.env, &context.config, &context.request_id).await?;
    let mut reply = Reply::json(200, &keys);
    reply.headers.retain(|(name, _)| *name != "cache-control");
    Ok(reply.with("cache-control", "public, max-age=300"))
}
