//! Cognomega: one Rust Worker that gives any product a metered AI backend.
//!
//! The handlers that `shell.js` calls for the runtime, and nothing else. `edge` is the front door, `jobs` the workers behind the queue, `durable` the shells of the
//! actors, `providers` the models behind, `platform` what the runtime offers; the rules themselves are the
//! package `actors`.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod durable;
mod edge;
mod jobs;
mod platform;
mod providers;
mod schedule;
mod shown;

pub use durable::{AddressActor, CatalogActor, ExperimentActor, TenantActor, VoiceActor};
/// What takes apart what strangers send, for the fuzz targets (`tests/fuzz`); in no build that ships.
#[cfg(feature = "parsers")]
pub use edge::parsers;

use wasm_bindgen::prelude::*;
use worker::Env;

/// What an actor asks of the parts above it, which it does not know: by what a run of a schedule is priced.
const PRICE_RUN: durable::PriceRun = jobs::price_run;

/// Begins to serve a request, as task number `task`: its response when it is there at once, else `undefined`.
#[wasm_bindgen]
pub fn serve(task: u32, request: web_sys::Request, env: Env, event: JsValue, head: String) -> JsValue {
    use futures::FutureExt;
    platform::task::begin(task, edge::serve(request, env, event, head).map(JsValue::from))
}

/// The response to a request whose work was lost with its memory. `started_ms` is when it came, since 1970.
#[wasm_bindgen]
pub fn lost(request: web_sys::Request, env: &Env, head: &str, started_ms: f64) -> web_sys::Response {
    edge::lost(request, env, head, platform::whole_ms(started_ms))
}

/// Takes messages off the queue, as task number `task`: `true` when all are done with, else `undefined`, and `true` by
/// `finish`.
#[wasm_bindgen]
pub fn consume(task: u32, batch: JsValue, env: Env, event: JsValue) -> JsValue {
    platform::task::begin(task, async move {
        jobs::consume(&batch.unchecked_into(), env, event).await;
        JsValue::TRUE
    })
}

/// What the cron trigger does that is for `at_ms`, as task number `task`, with the value of [`consume`].
#[wasm_bindgen]
pub fn sweep(task: u32, at_ms: f64, env: Env) -> JsValue {
    platform::task::begin(task, async move {
        schedule::run(&env, platform::whole_ms(at_ms)).await;
        JsValue::TRUE
    })
}
