//! Guest tokens and the public keys that verify them.

use serde_json::json;

use super::context::Context;
use super::error::ApiError;
use super::reply::Reply;
use super::{jwks, tokens};

/// `POST /auth/guest`: `{token, exp}`.
pub async fn guest(context: &Context) -> Result<Reply, ApiError> {
    let (token, exp) = tokens::mint_guest(&context.config).await?;
    Ok(Reply::json(200, &json!({ "token": token, "exp": exp })))
}

/// `GET /.well-known/jwks.json`: public members only. The one JSON reply that may be cached.
pub async fn jwks(context: &Context) -> Result<Reply, ApiError> {
    let keys = jwks::served(&context.env, &context.config).await;
    let mut reply = Reply::json(200, &keys);
    reply.headers.retain(|(name, _)| *name != "cache-control");
    Ok(reply.with("cache-control", "public, max-age=300"))
}
