//! Cognomega: one Rust Worker that gives any product a metered AI backend.
//!
//! The handlers the runtime calls, and nothing else. `edge` is the front door, `durable` the shells of the
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
mod platform;
mod providers;
mod queue;
mod schedule;

pub use durable::TenantActor;

use worker::{Context, Env, MessageBatch, ScheduleContext, ScheduledEvent, event};

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<web_sys::Response> {
    edge::serve(request, env, context).await
}

#[event(queue)]
async fn consume(batch: MessageBatch<String>, _env: Env, _context: Context) -> worker::Result<()> {
    queue::consume(&batch);
    Ok(())
}

#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    schedule::run(&env);
}
