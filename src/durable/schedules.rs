//! Runs of schedules: the rules say which are due, the calendar when the next one is, and the front door what one costs.

use std::rc::Rc;

use actors::jobs::{Fire, Priced, ScheduleDue};
use actors::shared::TenantId;
use actors::tenant::{Call, Command, JobCommand};
use futures::future::LocalBoxFuture;
use wasm_bindgen::JsValue;
use worker::Env;

use super::tenant::Tenant;
use crate::platform::calendar::Times;
use crate::platform::config::Config;
use crate::platform::tenant_stub::name_of;
use crate::platform::{job_id, log, now_ms, random_id};

/// A run that is to be priced: whose it is, and what it is of.
pub struct Run {
    pub env: Env,
    pub config: Rc<Config>,
    /// The actor's own handle on its events.
    pub event: JsValue,
    pub request_id: String,
    pub tenant: TenantId,
    pub due: ScheduleDue,
}

/// Who prices runs. What reads params and prices stands above the actors, so it is handed in by who puts both together.
pub type PriceRun = fn(Run) -> LocalBoxFuture<'static, Option<Priced>>;

impl Tenant {
    /// Makes each run in a transaction of its own. One that fails, or is lost while it is priced, is asked for again by
    /// the alarm.
    pub(super) async fn run_schedules(&self, tenant: &TenantId, due: Vec<ScheduleDue>) {
        for due in due {
            let ScheduleDue { schedule, run_at_ms, cron, time_zone, .. } = due.clone();
            let request_id = random_id();
            let priced = crate::PRICE_RUN(self.to_price(tenant, request_id.clone(), due)).await;
            // Runs that were missed are one: the next is to come.
            let from_ms = now_ms().max(run_at_ms);
            let next_run_ms = Times::read(&cron, &time_zone).ok().and_then(|times| times.next_ms(from_ms));
            let job = job_id::fresh(&name_of(tenant));
            let fire = Fire { schedule, run_at_ms, next_run_ms, job, priced };
            let command = Command::Jobs(Box::new(JobCommand::Fire(fire)));
            let call = Call { tenant: tenant.clone(), api_key: None, request_id: None, command };
            let run = log::within(Some(request_id), || {
                self.run(call).inspect_err(|refusal| log::fault("schedule_not_run", &refusal.to_string()))
            });
            drop(run);
            self.tell();
        }
    }

    fn to_price(&self, tenant: &TenantId, request_id: String, due: ScheduleDue) -> Run {
        let (env, config) = (self.env.clone(), Rc::clone(&self.config));
        Run { env, config, event: self.state.clone(), request_id, tenant: tenant.clone(), due }
    }
}
