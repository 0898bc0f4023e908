//! `POST /api/jobs/run`: a job while its client waits. The front door is its worker, and the job is like any other: who
//! goes away finds it by its id.

use std::rc::Rc;

use actors::jobs::JobWithBody;
use serde_json::json;

use super::create::{Made, Manner, make};
use super::look::found;
use super::shown::whole_object;
use crate::edge::context::{Context, unexpected};
use crate::edge::error::ApiError;
use crate::edge::operation::Operation;
use crate::edge::reply::Reply;
use crate::jobs::worker;
use crate::platform::{detached, now_ms, task, timer};

/// Waits between looks at a job that another worker has, or that must wait for its turn; the last one is repeated.
const WAITS_MS: [u32; 5] = [20, 50, 100, 250, 500];
/// What the client waits for beyond the time that an answer may take, in milliseconds.
const PATIENCE_MS: i64 = 10_000;

pub async fn run(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let made = make(context, Manner::Now).await?;
    let shared = Rc::clone(context);
    let found = detached::first_value(&context.event, move |reply_to| async move {
        let found = work_or_wait(&shared, &made).await;
        let found =
            found.map(|found| json!({ "job": whole_object(&made.caller.tenant, &found), "mode": "sync" }));
        let _gone = reply_to.send((found, made.replayed));
    });
    let (body, replayed) = found.await.ok_or_else(unexpected)?;
    let reply = Reply::json(200, &body?);
    Ok(if replayed { reply.with("idempotency-replayed", "true") } else { reply })
}

/// The job once it is over; as it is, when that takes too long.
async fn work_or_wait(context: &Rc<Context>, made: &Made) -> Result<JobWithBody, ApiError> {
    let (tenant, id) = (&made.caller.tenant, &made.job.id);
    let operation = Operation { route: worker::ROUTE, ..Operation::clone(context) };
    let until_ms = now_ms().saturating_add(context.config.deadlines.total_ms).saturating_add(PATIENCE_MS);
    let mut waits = WAITS_MS.into_iter();
    let (mut wait_ms, mut helps) = (0, true);
    loop {
        let leased = match helps {
            true => worker::lease(&operation, tenant, Some(id)).await.unwrap_or(None),
            false => None,
        };
        match leased {
            Some(leased) if leased.job.id == *id => worker::work(&operation, tenant, leased).await,
            // Another one went first. It is done beside; more than one is not this request's to do.
            Some(leased) => {
                helps = false;
                let (operation, tenant) = (operation.clone(), tenant.clone());
                let event = operation.event.clone();
                task::keep_alive(&event, async move { worker::work(&operation, &tenant, leased).await });
            }
            None => {}
        }
        let found = found(context, &made.caller, id.clone()).await?;
        if found.job.state.is_final() || now_ms() >= until_ms {
            return Ok(found);
        }
        wait_ms = waits.next().unwrap_or(wait_ms);
        timer::sleep(wait_ms).await;
    }
}
