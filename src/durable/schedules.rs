//! Runs of schedules: the rules say which are due, the calendar when the next one is.

use actors::jobs::{Fire, ScheduleDue};
use actors::shared::TenantId;
use actors::tenant::{Call, Command, JobCommand};

use super::tenant::Tenant;
use crate::platform::calendar::Times;
use crate::platform::tenant_stub::name_of;
use crate::platform::{job_id, log, now_ms, random_id};

impl Tenant {
    /// Makes each run in a transaction of its own. One that fails is asked for again by the alarm.
    pub(super) fn run_schedules(&self, tenant: &TenantId, due: Vec<ScheduleDue>) {
        for ScheduleDue { schedule, run_at_ms, cron, time_zone } in due {
            // Runs that were missed are one: the next is to come.
            let from_ms = now_ms().max(run_at_ms);
            let next_run_ms = Times::read(&cron, &time_zone).ok().and_then(|times| times.next_ms(from_ms));
            let job = job_id::fresh(&name_of(tenant));
            let fire = Fire { schedule, run_at_ms, next_run_ms, job };
            let command = Command::Jobs(Box::new(JobCommand::Fire(fire)));
            let call = Call { tenant: tenant.clone(), api_key: None, request_id: None, command };
            let run = log::within(Some(random_id()), || {
                self.run(call).inspect_err(|refusal| log::fault("schedule_not_run", &refusal.to_string()))
            });
            drop(run);
        }
    }
}
