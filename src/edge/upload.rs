//! `POST /api/upload/direct?filename=`: a file goes into the bucket as it comes, and is its tenant's.

use actors::tenant::{Command, Reply as ActorReply};
use serde_json::json;

use super::context::{Context, unexpected};
use super::error::ApiError;
use super::identity::Caller;
use super::limits::CONTENT_TYPE_BYTES_MAX;
use super::refusals;
use super::reply::Reply;
use super::upload_key;
use crate::platform::bucket::{self, NewObject, NotStored};
use crate::platform::task::BodyWait;
use crate::platform::{now_ms, random_id};

/// The type of what says none, or one that is no header's.
const UNTYPED: &str = "application/octet-stream";

pub async fn direct(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    if !bucket::is_bound(&context.env) {
        return Err(ApiError::R2NotBound);
    }
    let length = length(context)?;
    let body = context.inbound.stream().ok_or(ApiError::EmptyBody)?;
    count(context, &caller).await?;
    let file_name = context.inbound.query.get("filename").unwrap_or_default();
    let key = upload_key::compose(&caller.tenant, &random_id(), &file_name, now_ms());
    let content_type = content_type(context.inbound.header_filled("content-type"));
    let owner = upload_key::owner(&caller.tenant);
    let object = NewObject { key: &key, length, content_type: &content_type, owner: &owner };
    let _wait = BodyWait::begin();
    let stored = bucket::put(&context.env, &object, &body).await.map_err(|why| match why {
        NotStored::Body => ApiError::BodyLengthMismatch,
        NotStored::Bucket => ApiError::Unavailable,
    })?;
    Ok(Reply::json(
        200,
        &json!({
            "ok": true,
            "key": key,
            "size": stored.size,
            "etag": stored.etag,
            "version": stored.version,
            "content_type": content_type,
        }),
    ))
}

/// The length the body is said to have.
///
/// # Errors
/// `LengthRequired`, `PayloadTooLarge`, `EmptyBody`, in this order.
fn length(context: &Context) -> Result<usize, ApiError> {
    let max_bytes = context.config.upload_bytes_max;
    let length = context.inbound.declared_length().ok_or(ApiError::LengthRequired)?;
    match usize::try_from(length) {
        Ok(0) => Err(ApiError::EmptyBody),
        Ok(length) if length <= max_bytes => Ok(length),
        _ => Err(ApiError::PayloadTooLarge { max_bytes }),
    }
}

/// Free of charge, so the budget of requests is what slows a client down.
async fn count(context: &Context, caller: &Caller) -> Result<(), ApiError> {
    if let Some(refusal) = refusals::recall(&caller.tenant, 1, false, now_ms()) {
        return Err(ApiError::from(refusal));
    }
    let answer = context.send_metered(caller, Command::Count).await;
    let answer = answer.inspect_err(|refusal| refusals::remember(&caller.tenant, 1, refusal, now_ms()));
    match Context::heard(caller, answer)? {
        ActorReply::Counted => Ok(()),
        _ => Err(unexpected()),
    }
}

/// What the file is said to be, kept as it was said.
fn content_type(said: Option<String>) -> String {
    let said = said.map(|said| said.trim().to_owned());
    let is_one = |said: &String| {
        said.len() <= CONTENT_TYPE_BYTES_MAX
            && said.contains('/')
            && said.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    };
    said.filter(is_one).unwrap_or_else(|| UNTYPED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_kept_as_it_was_said_or_is_none() {
        for (said, expected) in [
            (Some("text/plain; charset=utf-8"), "text/plain; charset=utf-8"),
            (Some(" image/png "), "image/png"),
            (Some("png"), UNTYPED),
            (Some("text/plain\r\nx: y"), UNTYPED),
            (Some("tëxt/plain"), UNTYPED),
            (Some(&format!("text/{}", "x".repeat(CONTENT_TYPE_BYTES_MAX))), UNTYPED),
            (None, UNTYPED),
        ] {
            assert_eq!(content_type(said.map(str::to_owned)), expected, "{said:?}");
        }
    }
}
