//! What a run of a schedule is made with: by the prices of its own day, as if its client asked for it now.

use actors::jobs::{Priced, ScheduleDue};
use futures::future::{FutureExt, LocalBoxFuture};
use serde_json::value::to_raw_value;

use super::kinds::{self, Making, Prepared};
use super::stored::Stored;
use super::worker::ROUTE;
use crate::durable::ScheduleRun;
use crate::edge::catalog;
use crate::edge::identity::{Caller, Proof};
use crate::edge::operation::Operation;

/// Prices a run, for its files as they are now. `None` where that cannot be done, because its skill, tier, type or a file
/// is no more: then it is made as its schedule was set, and its attempts say what is wrong.
pub fn price_run(run: ScheduleRun) -> LocalBoxFuture<'static, Option<Priced>> {
    priced(run).boxed_local()
}

async fn priced(run: ScheduleRun) -> Option<Priced> {
    let ScheduleRun { env, config, event, request_id, tenant, due } = run;
    let ScheduleDue { set, kind, params, terms, .. } = due;
    let kind = kinds::find(&kind)?;
    let stored: Stored = serde_json::from_str(&params).ok()?;
    let operation = Operation { env, config, request_id, route: ROUTE, event };
    let known = catalog::current(&operation).await;
    let caller = Caller { tenant, proof: Proof::Token, api_key: terms.owner.api_key };
    let making = Making { operation, known, caller, tier: terms.tier };
    let prepared = (kind.prepare)(&making, &stored.params).await.ok()?;
    let Prepared { amount, owner, quote, file_bytes } = prepared;
    let params = to_raw_value(&Stored { params: stored.params, quote, file_bytes }).ok()?;
    Some(Priced { set, params, amount, models: owner.models, weight: owner.weight })
}
