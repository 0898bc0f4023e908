//! Messages and workers: messages get lost, come twice and in any order; workers die at every step, and some of them
//! after their provider had done the work.

use actors::jobs::State;
use actors::shared::Refusal;

use super::World;
use super::send::Heard;
use crate::check::holds;
use crate::command::{Cmd, Used};
use crate::job_command::{JobCmd, JobSpec};
use crate::model::Answer;
use crate::step::{Fault, JobAction, JobPick};

/// Leases that one drain works off: more than a schedule makes jobs.
const DRAIN_LEASES_MAX: u32 = 400;

/// A worker with a lease, as it believes.
#[derive(Debug, Clone, Copy)]
pub struct Worker {
    pub job: u32,
    pub epoch: i64,
    pub amount: i64,
    pub tokens: i64,
}

impl World<'_> {
    pub(super) fn act_on_jobs(&mut self, at: usize, action: &JobAction, fault: Fault) -> Result<(), String> {
        match *action {
            JobAction::Create(ref pick) => self.make_job(at, pick, fault),
            JobAction::Work { message, keep, blind } => {
                let messages = &mut self.tenants[at].messages;
                let called = match messages.len() {
                    0 => None,
                    count => {
                        let place = message as usize % count;
                        self.tally.fault(if place == 0 {
                            "message in order"
                        } else {
                            "message out of order"
                        });
                        if keep {
                            self.tally.fault("message delivered again");
                            Some(messages[place])
                        } else {
                            Some(messages.remove(place))
                        }
                    }
                };
                self.work(at, called.filter(|_| !blind), fault)
            }
            JobAction::LoseMessage { message } => {
                let messages = &mut self.tenants[at].messages;
                if !messages.is_empty() {
                    messages.remove(message as usize % messages.len());
                    self.tally.fault("message lost");
                }
                Ok(())
            }
            JobAction::Beat { worker, mark } => {
                let Some(Worker { job, epoch, .. }) = self.worker(at, worker) else { return Ok(()) };
                self.tell_of_job(at, JobCmd::Beat { job, epoch, mark }, fault)
            }
            JobAction::Complete { worker, charge_percent, tokens_percent } => {
                let Some(worker) = self.worker(at, worker) else { return Ok(()) };
                let Worker { job, epoch, amount, tokens } = worker;
                let tokens = tokens * tokens_percent / 100;
                let used = Used { tokens_in: tokens / 2, tokens_out: tokens - tokens / 2, model: None };
                let charge = amount * charge_percent / 100;
                self.tell_of_job(at, JobCmd::Complete { job, epoch, charge, used }, fault)
            }
            JobAction::Fail { worker, fatal, seed } => {
                let Some(Worker { job, epoch, .. }) = self.worker(at, worker) else { return Ok(()) };
                self.tell_of_job(at, JobCmd::Fail { job, epoch, fatal, seed }, fault)
            }
            JobAction::Die { worker, answered } => {
                let workers = &mut self.tenants[at].workers;
                if !workers.is_empty() {
                    workers.remove(worker as usize % workers.len());
                    self.tally.fault(if answered {
                        "worker died after its provider had answered"
                    } else {
                        "worker died"
                    });
                }
                Ok(())
            }
            JobAction::Patch { job, status } => {
                let jobs = &self.tenants[at].model.state.jobs;
                if jobs.is_empty() {
                    return Ok(());
                }
                let job = jobs[jobs.len() - 1 - job as usize % jobs.len()].id;
                self.send(at, Cmd::Job(JobCmd::Patch { job, status }), fault).map(drop)
            }
            JobAction::RedriveAll { limit } => {
                self.send(at, Cmd::Job(JobCmd::RedriveAll { limit }), fault).map(drop)
            }
        }
    }

    fn make_job(&mut self, at: usize, pick: &JobPick, fault: Fault) -> Result<(), String> {
        let spec = JobSpec {
            job: self.serial,
            kind: pick.kind,
            priority: pick.priority,
            run_at_ms: pick.delay_ms.map(|delay_ms| self.now_ms + delay_ms),
            amount: pick.amount,
            ttl_ms: pick.ttl_ms,
            lease_ms: pick.lease_ms,
            attempts_max: pick.attempts_max,
            wait_ms: pick.wait_ms,
            dedupe: pick.dedupe,
            api_key: pick.api_key,
            models: pick.models,
            tokens: pick.tokens,
            key: pick.key.map(|pick| crate::command::Key { key: pick.key, body: pick.body }),
        };
        self.send(at, Cmd::Job(JobCmd::Create(spec)), fault).map(drop)
    }

    /// A worker comes, called by a message or by itself; whether it got a job.
    fn work(&mut self, at: usize, called: Option<u32>, fault: Fault) -> Result<(), String> {
        self.workers += 1;
        let worker = self.workers;
        let heard = self.send(at, Cmd::Job(JobCmd::Lease { worker, job: called }), fault)?;
        // Who heard nothing asks once more, as the same worker.
        let heard = match heard {
            Heard::Nothing if called.is_some() && worker.is_multiple_of(2) => {
                self.send(at, Cmd::Job(JobCmd::Lease { worker, job: called }), Fault::None)?
            }
            other => other,
        };
        if let Heard::Answer(Answer::Leased(Some(job))) = heard {
            let tenant = &mut self.tenants[at];
            let known = tenant.model.state.jobs.iter().find(|known| known.id == job.id);
            let spec = known.ok_or("a job was leased that is not there")?.spec;
            let given = Worker { job: job.id, epoch: job.epoch, amount: spec.amount, tokens: spec.tokens };
            let twice =
                tenant.leases.insert((job.id, job.epoch), worker).is_some_and(|other| other != worker);
            holds(!twice, || format!("two workers have lease {} of job {}", job.epoch, job.id))?;
            tenant.workers.push(given);
        }
        Ok(())
    }

    /// One of the workers: by the number of its lease, mostly a recent one.
    fn worker(&self, at: usize, worker: u32) -> Option<Worker> {
        let workers = &self.tenants[at].workers;
        let back = worker as usize % workers.len().max(1);
        workers.get(workers.len().checked_sub(1 + back)?).copied()
    }

    /// What a worker says. It is done when it knows that it is; some say it again all the same.
    fn tell_of_job(&mut self, at: usize, cmd: JobCmd, fault: Fault) -> Result<(), String> {
        let (JobCmd::Beat { job, epoch, .. }
        | JobCmd::Complete { job, epoch, .. }
        | JobCmd::Fail { job, epoch, .. }) = cmd
        else {
            return Ok(());
        };
        let heard = self.send(at, Cmd::Job(cmd), fault)?;
        let over = matches!(
            heard,
            Heard::Answer(Answer::JobEnded { .. })
                | Heard::Refused(Refusal::StaleLease { .. } | Refusal::UnknownJob)
        );
        if over && !self.serial.is_multiple_of(4) {
            self.tenants[at].workers.retain(|known| (known.job, known.epoch) != (job, epoch));
        }
        Ok(())
    }

    /// Faults are over, and workers come for every message: nothing that is ready stays.
    pub(super) fn work_off(&mut self, at: usize) -> Result<(), String> {
        for _ in 0..DRAIN_LEASES_MAX {
            let Some(called) = self.tenants[at].messages.pop() else {
                let jobs = &self.tenants[at].model.state.jobs;
                let active = jobs.iter().any(|job| matches!(job.state, State::Leased | State::Nudged));
                let waiting = jobs.iter().any(|job| job.state == State::Queued);
                // Who waits, waits for one that runs, or for one whose message was lost and is sent again.
                return holds(active || !waiting, || "a job waits, and no message is sent for it".to_owned());
            };
            self.work(at, Some(called), Fault::None)?;
            while let Some(worker) = self.tenants[at].workers.pop() {
                let Worker { job, epoch, amount, tokens } = worker;
                let used = Used { tokens_in: tokens, tokens_out: 0, model: None };
                let cmd = JobCmd::Complete { job, epoch, charge: amount, used };
                self.send(at, Cmd::Job(cmd), Fault::None)?;
            }
        }
        Err("messages come without end".to_owned())
    }
}
