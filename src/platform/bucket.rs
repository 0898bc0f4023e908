//! The bucket of uploads: what an object is, its bytes, and a new one as it comes in. No object changes once it is
//! there.

use js_sys::{Promise, Uint8Array};
use serde::Deserialize;
use serde_json::json;
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Blob, ReadableStream};
use worker::Env;

use super::abort::AbortGuard;
use super::config;
use super::hop;
use super::log;
use super::task::settled;
use super::timer;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = cognomega, js_name = objectHead)]
    fn object_head(env: &JsValue, key: &str) -> Promise;

    #[wasm_bindgen(js_namespace = cognomega, js_name = objectBytes)]
    fn object_bytes(env: &JsValue, key: &str, bytes_max: Option<f64>) -> Promise;

    #[wasm_bindgen(js_namespace = cognomega, js_name = objectBlob)]
    fn object_blob(env: &JsValue, key: &str) -> Promise;

    #[wasm_bindgen(js_namespace = cognomega, js_name = objectPut)]
    fn object_put(
        env: &JsValue,
        key: &str,
        body: &ReadableStream,
        length: f64,
        options: &str,
        signal: Option<&AbortSignal>,
    ) -> Promise;
}

const BINDING: &str = "R2_UPLOADS";
/// How long the bucket may take to say what an object is, or to give one of some megabytes.
const READ_TIMEOUT_MS: i64 = 10_000;
/// How long a file may take to come: ten megabytes at 140 kilobits a second.
const UPLOAD_TIMEOUT_MS: i64 = 600_000;

/// What is known of an object without its bytes.
#[derive(Debug, Deserialize)]
pub struct ObjectHead {
    pub size: usize,
    /// As the upload declared it.
    #[serde(default)]
    pub content_type: String,
    /// The digest of the tenant that put it there; empty where none was written.
    #[serde(default)]
    pub owner: String,
}

/// An object that was stored.
#[derive(Debug, Deserialize)]
pub struct Stored {
    pub size: usize,
    pub etag: String,
    pub version: String,
}

/// The bucket did not do it. What it said is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketFailed;

/// Why nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// The body is shorter or longer than it was said to be, broke off, or took too long.
    Body,
    Bucket,
}

/// What a new object is stored with.
pub struct NewObject<'a> {
    pub key: &'a str,
    pub length: usize,
    pub content_type: &'a str,
    /// The digest of its tenant.
    pub owner: &'a str,
}

pub fn is_bound(env: &Env) -> bool {
    config::has_binding(env, BINDING)
}

/// What the object of that key is; `None` when there is none.
///
/// # Errors
/// [`BucketFailed`].
pub async fn head(env: &Env, key: &str) -> Result<Option<ObjectHead>, BucketFailed> {
    let found = read(object_head(env, key)).await?;
    let Some(text) = found.as_string() else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| failed(&error.to_string()))
}

/// Its bytes; `None` when it is gone.
///
/// # Errors
/// [`BucketFailed`].
pub async fn bytes(env: &Env, key: &str) -> Result<Option<Vec<u8>>, BucketFailed> {
    let found = read(object_bytes(env, key, None)).await?;
    Ok((!found.is_undefined()).then(|| Uint8Array::new(&found).to_vec()))
}

/// The first of its bytes, at most `bytes_max`; `None` when it is gone.
///
/// # Errors
/// [`BucketFailed`].
pub async fn first_bytes(env: &Env, key: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, BucketFailed> {
    #[allow(clippy::cast_precision_loss)]
    let found = read(object_bytes(env, key, Some(bytes_max as f64))).await?;
    Ok((!found.is_undefined()).then(|| Uint8Array::new(&found).to_vec()))
}

/// All of it, whose bytes stay with the runtime; `None` when it is gone.
///
/// # Errors
/// [`BucketFailed`].
pub async fn blob(env: &Env, key: &str) -> Result<Option<Blob>, BucketFailed> {
    let found = read(object_blob(env, key)).await?;
    Ok(found.dyn_into().ok())
}

/// Stores a body as it comes, without ever having all of it. Nothing is stored of one that is not as long as it was said
/// to be.
///
/// # Errors
/// [`NotStored`].
pub async fn put(env: &Env, object: &NewObject<'_>, body: &ReadableStream) -> Result<Stored, NotStored> {
    let options = json!({
        "httpMetadata": { "contentType": object.content_type },
        "customMetadata": { "tenant": object.owner },
    });
    #[allow(clippy::cast_precision_loss)]
    let length = object.length as f64;
    // When this is dropped before its end, the body is given up and the bucket sees a broken one.
    let guard = AbortGuard::new();
    let put = object_put(env, object.key, body, length, &options.to_string(), guard.signal().as_ref());
    let ended = timer::within(UPLOAD_TIMEOUT_MS, settled(&put)).await.map_err(|_| NotStored::Body)?;
    let stored = ended.map_err(|error| {
        let _logged = failed(&hop::words(&error));
        NotStored::Bucket
    })?;
    let Some(text) = stored.as_string() else { return Err(NotStored::Body) };
    guard.let_go();
    serde_json::from_str(&text).map_err(|error| {
        let _logged = failed(&error.to_string());
        NotStored::Bucket
    })
}

async fn read(asked: Promise) -> Result<JsValue, BucketFailed> {
    let answer = timer::within(READ_TIMEOUT_MS, settled(&asked)).await;
    let answer = answer.map_err(|_| failed("it did not answer in time"))?;
    answer.map_err(|error| failed(&hop::words(&error)))
}

fn failed(detail: &str) -> BucketFailed {
    log::fault("bucket_failed", detail);
    BucketFailed
}
