//! Jobs in the model: where each is, which goes next, what its end does to its hold.

use actors::jobs::{Event, JobLimits, Reason, State, Status};
use actors::shared::Refusal;

use super::{Answer, Given, Model};
use crate::command::{Admit, Settle, Used};
use crate::job_command::{JobCmd, JobSpec, RESULT_TTL_MS, STATUSES, TYPES, owed};

const HISTORY_MS: i64 = 30 * super::DAY_MS;
const RUNNING_DEFAULT: u32 = 8;

/// Beginning anew a job takes another hold: their numbers are this far apart.
pub const REDRIVE: u32 = 1_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: u32,
    pub seq: i64,
    pub state: State,
    pub due_at_ms: Option<i64>,
    pub epoch: i64,
    pub worker: Option<u32>,
    pub expires_at_ms: i64,
    pub dedupe: Option<u8>,
    pub attempts: u32,
    pub redrives: u32,
    pub nudges: u32,
    pub mark: Option<u32>,
    pub failed: bool,
    pub reason: Option<Reason>,
    pub charged: i64,
    /// For what it got done, if it ends otherwise than by its completion.
    pub owed: Option<(i64, Used)>,
    /// Over all its holds.
    pub charges: i64,
    pub balance: Option<i64>,
    pub finished_at_ms: Option<i64>,
    pub has_body: bool,
    /// When it may run, as far as it is known.
    pub run_at_ms: i64,
    pub spec: JobSpec,
}

/// What is compared of a job in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobView {
    pub id: u32,
    pub state: State,
    pub due_at_ms: Option<i64>,
    pub epoch: i64,
    pub expires_at_ms: i64,
    pub attempts: u32,
    pub redrives: u32,
    pub reason: Option<Reason>,
    pub charged: i64,
    pub balance: Option<i64>,
}

/// What clients are told of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobNews {
    pub job: u32,
    pub event: Option<Event>,
    pub status: Status,
    pub attempt: u32,
}

impl Job {
    pub const fn hold(&self) -> u32 {
        self.id + self.redrives * REDRIVE
    }

    pub const fn is_open(&self) -> bool {
        self.finished_at_ms.is_none()
    }

    pub const fn view(&self) -> JobView {
        JobView {
            id: self.id,
            state: self.state,
            due_at_ms: self.due_at_ms,
            epoch: self.epoch,
            expires_at_ms: self.expires_at_ms,
            attempts: self.attempts,
            redrives: self.redrives,
            reason: self.reason,
            charged: self.charged,
            balance: self.balance,
        }
    }

    fn end(&mut self, state: State, now_ms: i64) {
        let kept_ms = if state == State::Succeeded { RESULT_TTL_MS } else { HISTORY_MS };
        (self.state, self.worker, self.dedupe) = (state, None, None);
        self.finished_at_ms = Some(now_ms);
        self.due_at_ms = Some(super::notices::batched(now_ms + kept_ms));
    }

    fn stale(&self, epoch: i64) -> Result<(), Refusal> {
        if self.state == State::Leased && self.epoch == epoch {
            return Ok(());
        }
        Err(Refusal::StaleLease { status: self.state.status().name().to_owned() })
    }
}

/// Half of the wait, and a part of the other half that follows from the seed.
fn wait_ms(spec: &JobSpec, attempt: u32, seed: u32) -> i64 {
    let whole = (spec.wait_ms << (attempt - 1).min(30)).min(spec.wait_ms * 4);
    whole / 2 + i64::from(seed) % (whole - whole / 2 + 1)
}

impl Model {
    pub(super) fn job(&mut self, cmd: &JobCmd, now_ms: i64) -> Result<Answer, Refusal> {
        match *cmd {
            JobCmd::Create(spec) => self.create_job(&spec, now_ms),
            JobCmd::Lease { worker, job } => Ok(self.lease_job(worker, job, now_ms)),
            JobCmd::Beat { job, epoch, mark } => {
                let at = self.job_at(job)?;
                let known = &mut self.state.jobs[at];
                known.stale(epoch)?;
                let until_ms = (now_ms + known.spec.lease_ms).min(known.expires_at_ms);
                known.due_at_ms = known.due_at_ms.max(Some(until_ms));
                let until_ms = known.due_at_ms.unwrap();
                known.owed = mark.map(owed).or(known.owed);
                if mark.is_some() && mark != known.mark {
                    known.mark = mark;
                    self.news(at, Some(Event::Beat));
                }
                Ok(Answer::Beaten { until_ms })
            }
            JobCmd::Complete { job, epoch, charge, used } => {
                let at = self.job_at(job)?;
                let known = &self.state.jobs[at];
                if known.state == State::Succeeded && known.epoch == epoch {
                    return Ok(Answer::JobEnded { job: known.view(), first: false });
                }
                known.stale(epoch)?;
                self.settle(&Settle { hold: known.hold(), charge, used, reply: false }, now_ms)?;
                let hold = self.state.hold(self.state.jobs[at].hold()).unwrap();
                let (charged, available) = (self.state.holds[hold].charged, self.state.account.available);
                let known = &mut self.state.jobs[at];
                (known.charged, known.balance, known.failed) = (charged, Some(available), false);
                known.charges += i64::from(charged > 0);
                known.end(State::Succeeded, now_ms);
                self.news(at, Some(Event::Complete));
                self.refill(now_ms);
                Ok(Answer::JobEnded { job: self.state.jobs[at].view(), first: true })
            }
            JobCmd::Fail { job, epoch, fatal, seed } => {
                let at = self.job_at(job)?;
                let known = &self.state.jobs[at];
                let waits =
                    matches!(known.state, State::Delayed | State::Queued | State::Nudged | State::Failed);
                if waits && known.epoch == epoch && known.failed {
                    return Ok(Answer::JobEnded { job: known.view(), first: false });
                }
                known.stale(epoch)?;
                self.expire_grants(now_ms);
                self.fail_attempt(at, fatal, seed, now_ms);
                self.refill(now_ms);
                Ok(Answer::JobEnded { job: self.state.jobs[at].view(), first: true })
            }
            JobCmd::Patch { job, status } => self.patch_job(job, STATUSES[usize::from(status)], now_ms),
            JobCmd::RedriveAll { limit } => self.redrive_jobs(limit, now_ms),
        }
    }

    pub(super) fn job_owes(&self, job: u32) -> bool {
        let known = self.job_at(job).ok().and_then(|at| self.state.jobs[at].owed);
        known.is_some_and(|(charge, _)| charge > 0)
    }

    pub(super) fn job_at(&self, job: u32) -> Result<usize, Refusal> {
        self.state.jobs.iter().position(|known| known.id == job).ok_or(Refusal::UnknownJob)
    }

    fn news(&mut self, at: usize, event: Option<Event>) {
        let job = &self.state.jobs[at];
        let news = JobNews { job: job.id, event, status: job.state.status(), attempt: job.attempts };
        self.logs.job_news.push(news);
    }

    fn create_job(&mut self, spec: &JobSpec, now_ms: i64) -> Result<Answer, Refusal> {
        if let Some(Given::Job { job, deduped }) = self.look_up(spec.key, now_ms)? {
            return Ok(Answer::JobMade { job, deduped, replayed: true });
        }
        self.state.job_tables = true;
        self.expire_grants(now_ms);
        let known = self.state.jobs.iter().find(|job| job.dedupe.is_some() && job.dedupe == spec.dedupe);
        let (at, deduped) = match known.map(|job| job.seq) {
            Some(seq) => (self.state.jobs.iter().position(|job| job.seq == seq).unwrap(), true),
            None => {
                let run_at_ms = spec.run_at_ms.unwrap_or(now_ms).max(now_ms);
                let later = run_at_ms > now_ms;
                let job = Job {
                    id: spec.job,
                    seq: self.state.jobs.iter().map(|job| job.seq).max().unwrap_or(0) + 1,
                    state: if later { State::Delayed } else { State::Queued },
                    due_at_ms: later.then_some(run_at_ms),
                    epoch: 0,
                    worker: None,
                    expires_at_ms: run_at_ms + spec.ttl_ms,
                    dedupe: spec.dedupe,
                    attempts: 0,
                    redrives: 0,
                    nudges: 0,
                    mark: None,
                    failed: false,
                    reason: None,
                    charged: 0,
                    owed: None,
                    charges: 0,
                    balance: None,
                    finished_at_ms: None,
                    has_body: true,
                    run_at_ms,
                    spec: *spec,
                };
                if let Err(refusal) = self.admit_job(&job, now_ms)? {
                    return Ok(Answer::Refused(refusal));
                }
                if self.job_at(spec.job).is_ok() {
                    return Err(Refusal::DuplicateOperation);
                }
                self.state.jobs.push(job);
                let at = self.state.jobs.len() - 1;
                self.news(at, None);
                (at, false)
            }
        };
        let job = self.state.jobs[at].view();
        if let Some(key) = spec.key {
            self.remember(key, Given::Job { job, deduped }, now_ms);
        }
        self.refill(now_ms);
        Ok(Answer::JobMade { job, deduped, replayed: false })
    }

    fn admit_job(&mut self, job: &Job, now_ms: i64) -> Result<Result<(), Refusal>, Refusal> {
        let asked = Admit {
            hold: job.hold(),
            amount: job.spec.amount,
            ttl_ms: job.expires_at_ms - now_ms,
            api_key: job.spec.api_key,
            models: job.spec.models,
            requests: 1,
            tokens: job.spec.tokens,
            tier: None,
            key: None,
            fingerprint: None,
            job: Some(job.id),
        };
        Ok(self.hold_for(&asked, now_ms)?.map(drop))
    }

    fn limits(&self) -> (u32, [u32; 2]) {
        let JobLimits { running, running_by_type } = &self.state.settings.jobs;
        let of_type = TYPES.map(|kind| running_by_type.get(kind).copied().unwrap_or(u32::MAX));
        (running.unwrap_or(RUNNING_DEFAULT), of_type)
    }

    fn jobs_in(&self, kind: Option<u8>, states: &[State]) -> u32 {
        let counted =
            |job: &&Job| states.contains(&job.state) && kind.is_none_or(|kind| job.spec.kind == kind);
        u32::try_from(self.state.jobs.iter().filter(counted).count()).unwrap()
    }

    /// The first to go of those that may: the highest priority, then the oldest.
    fn first(&self, may: impl Fn(&Job) -> bool) -> Option<usize> {
        let waiting = (0..self.state.jobs.len()).filter(|at| may(&self.state.jobs[*at]));
        waiting.min_by_key(|at| (-self.state.jobs[*at].spec.priority, self.state.jobs[*at].seq))
    }

    /// A message for each place to run in that nobody was called for.
    fn refill(&mut self, now_ms: i64) {
        let (running, of_type) = self.limits();
        let active = [State::Nudged, State::Leased];
        while self.jobs_in(None, &active) < running {
            let fits = |job: &Job| {
                let kind = job.spec.kind;
                job.state == State::Queued && self.jobs_in(Some(kind), &active) < of_type[usize::from(kind)]
            };
            let Some(at) = self.first(fits) else { return };
            self.nudge(at, now_ms);
        }
    }

    fn nudge(&mut self, at: usize, now_ms: i64) {
        let job = &mut self.state.jobs[at];
        let again = if job.state == State::Nudged { job.nudges } else { 0 };
        job.nudges = again + 1;
        job.due_at_ms = Some(now_ms + (15_000 << again.min(16)).min(300_000));
        job.state = State::Nudged;
        let id = job.id;
        self.state.nudges.push(id);
    }

    fn lease_job(&mut self, worker: u32, called: Option<u32>, now_ms: i64) -> Answer {
        let called = called.and_then(|job| self.job_at(job).ok());
        if let Some(job) = self.state.jobs.iter().find(|job| job.worker == Some(worker)) {
            let leased = Answer::Leased(Some(job.view()));
            self.refill(now_ms);
            return leased;
        }
        let (running, of_type) = self.limits();
        let room = self.jobs_in(None, &[State::Leased]) < running;
        let fits = |job: &Job| {
            let ready = matches!(job.state, State::Queued | State::Nudged);
            let kind = job.spec.kind;
            room && ready && self.jobs_in(Some(kind), &[State::Leased]) < of_type[usize::from(kind)]
        };
        let next = self.first(fits);
        if let Some(at) = called.filter(|at| Some(*at) != next) {
            let job = &mut self.state.jobs[at];
            if job.state == State::Nudged {
                (job.state, job.due_at_ms) = (State::Queued, None);
            }
        }
        let leased = next.map(|at| {
            let job = &mut self.state.jobs[at];
            job.epoch += 1;
            job.attempts += 1;
            (job.nudges, job.worker, job.state) = (0, Some(worker), State::Leased);
            job.due_at_ms = Some((now_ms + job.spec.lease_ms).min(job.expires_at_ms));
            let view = job.view();
            self.news(at, Some(Event::Lease));
            view
        });
        self.refill(now_ms);
        Answer::Leased(leased)
    }

    /// The attempt came to nothing: another one, or the dead-letter list.
    fn fail_attempt(&mut self, at: usize, fatal: bool, seed: u32, now_ms: i64) {
        let job = &mut self.state.jobs[at];
        let next_ms = now_ms + wait_ms(&job.spec, job.attempts, seed);
        job.failed = true;
        job.reason = if fatal {
            Some(Reason::FinalError)
        } else if job.attempts >= job.spec.attempts_max {
            Some(Reason::AttemptsExhausted)
        } else {
            (next_ms >= job.expires_at_ms).then_some(Reason::Expired)
        };
        if job.reason.is_none() {
            (job.state, job.worker, job.due_at_ms) = (State::Delayed, None, Some(next_ms));
            job.run_at_ms = next_ms;
            self.news(at, Some(Event::Retry));
            return;
        }
        job.end(State::Failed, now_ms);
        self.news(at, Some(Event::Die));
        self.end_job_hold(at, now_ms);
    }

    /// What the job owes is charged, up to what was set aside.
    pub(super) fn end_job_hold(&mut self, at: usize, now_ms: i64) {
        let job = &self.state.jobs[at];
        let (hold, most) = (job.hold(), job.spec.amount);
        let Some((charge, used)) = job.owed.filter(|(charge, _)| *charge > 0) else {
            self.release(hold, now_ms).expect("a job that is not over has a hold");
            return;
        };
        let asked = Settle { hold, charge: charge.min(most), used, reply: false };
        self.settle(&asked, now_ms).expect("a job that is not over has a hold");
        let hold = self.state.hold(hold).unwrap();
        let (charged, available) = (self.state.holds[hold].charged, self.state.account.available);
        let job = &mut self.state.jobs[at];
        (job.charged, job.balance) = (charged, Some(available));
        job.charges += i64::from(charged > 0);
    }

    fn patch_job(&mut self, id: u32, wanted: Status, now_ms: i64) -> Result<Answer, Refusal> {
        let at = self.job_at(id)?;
        let job = &self.state.jobs[at];
        let (state, view) = (job.state, job.view());
        if state.status() == wanted && state != State::Leased {
            return Ok(Answer::JobChanged(view));
        }
        let refused = || Refusal::InvalidTransition {
            from: state.status().name().to_owned(),
            to: wanted.name().to_owned(),
        };
        let waits = matches!(state, State::Delayed | State::Queued | State::Nudged);
        let (event, next) = match wanted {
            Status::Queued if state == State::Failed => {
                self.expire_grants(now_ms);
                if let Err(refusal) = self.redrive(at, now_ms)? {
                    return Ok(Answer::Refused(refusal));
                }
                let view = self.state.jobs[at].view();
                self.refill(now_ms);
                return Ok(Answer::JobChanged(view));
            }
            Status::Queued if state == State::Taken && job.run_at_ms > now_ms => {
                (Event::GiveBackEarly, State::Delayed)
            }
            Status::Queued if state == State::Taken => (Event::GiveBack, State::Queued),
            Status::Running if waits => (Event::Take, State::Taken),
            Status::Succeeded if waits || state == State::Taken => (Event::Finish, State::Succeeded),
            Status::Failed if waits || state == State::Taken => (Event::GiveUp, State::Failed),
            Status::Cancelled if job.is_open() => (Event::Cancel, State::Cancelled),
            _ => return Err(refused()),
        };
        self.expire_grants(now_ms);
        let job = &mut self.state.jobs[at];
        job.epoch += i64::from(event == Event::Take);
        if next == State::Failed {
            job.reason = Some(Reason::Client);
        }
        if matches!(next, State::Queued | State::Taken) {
            (job.state, job.due_at_ms) = (next, None);
        } else if next == State::Delayed {
            (job.state, job.due_at_ms) = (next, Some(job.run_at_ms));
        } else {
            job.end(next, now_ms);
        }
        self.news(at, Some(event));
        if !self.state.jobs[at].is_open() {
            self.end_job_hold(at, now_ms);
        }
        let view = self.state.jobs[at].view();
        self.refill(now_ms);
        Ok(Answer::JobChanged(view))
    }

    fn redrive(&mut self, at: usize, now_ms: i64) -> Result<Result<(), Refusal>, Refusal> {
        let job = &self.state.jobs[at];
        let anew = Job {
            state: State::Queued,
            due_at_ms: None,
            expires_at_ms: now_ms + job.spec.ttl_ms,
            attempts: 0,
            redrives: job.redrives + 1,
            nudges: 0,
            mark: None,
            failed: false,
            reason: None,
            charged: 0,
            owed: None,
            balance: None,
            finished_at_ms: None,
            dedupe: job.spec.dedupe,
            run_at_ms: now_ms,
            ..job.clone()
        };
        if anew.spec.api_key.is_some() {
            // The keys of this world are names; none of them is live.
            return Err(Refusal::CredentialEnded);
        }
        if anew.dedupe.is_some() && self.state.jobs.iter().any(|other| other.dedupe == anew.dedupe) {
            let (from, to) = (Status::Failed.name().to_owned(), Status::Queued.name().to_owned());
            return Err(Refusal::InvalidTransition { from, to });
        }
        if let Err(refusal) = self.admit_job(&anew, now_ms)? {
            return Ok(Err(refusal));
        }
        self.state.jobs[at] = anew;
        self.news(at, Some(Event::Redrive));
        Ok(Ok(()))
    }

    fn redrive_jobs(&mut self, limit: u32, now_ms: i64) -> Result<Answer, Refusal> {
        let mut dead: Vec<(Option<i64>, i64, u32)> = Vec::new();
        let failed = self.state.jobs.iter().filter(|job| job.state == State::Failed);
        dead.extend(failed.map(|job| (job.due_at_ms, job.seq, job.id)));
        dead.sort_unstable();
        let more = dead.len() > limit as usize;
        self.expire_grants_if_opened(now_ms);
        let (mut jobs, mut refused): (_, Vec<(Refusal, u32)>) = (Vec::new(), Vec::new());
        for (_, _, id) in dead.into_iter().take(limit as usize) {
            let at = self.job_at(id)?;
            match self.redrive(at, now_ms) {
                Ok(Ok(())) => jobs.push(id),
                Ok(Err(refusal)) | Err(refusal) => {
                    let kind = std::mem::discriminant(&refusal);
                    match refused.iter_mut().find(|(known, _)| std::mem::discriminant(known) == kind) {
                        Some((_, count)) => *count += 1,
                        None => refused.push((refusal, 1)),
                    }
                }
            }
        }
        self.refill(now_ms);
        Ok(Answer::Redriven { jobs, more, refused })
    }

    /// Without tables of jobs nothing is loaded, so nothing expires.
    fn expire_grants_if_opened(&mut self, now_ms: i64) {
        if self.state.job_tables {
            self.expire_grants(now_ms);
        }
    }

    /// Its hold has just expired.
    pub(super) fn expire_job(&mut self, id: u32, now_ms: i64) {
        let at = self.job_at(id).expect("a hold of a job");
        let job = &mut self.state.jobs[at];
        job.reason = Some(Reason::Expired);
        job.end(State::Failed, now_ms);
        self.news(at, Some(Event::Expire));
    }

    /// What the alarm does for jobs.
    pub(super) fn ring_jobs(&mut self, now_ms: i64) {
        let due = self.state.jobs.iter().filter(|job| job.due_at_ms.is_some_and(|at_ms| at_ms <= now_ms));
        let mut due: Vec<(Option<i64>, i64, u32)> = due.map(|job| (job.due_at_ms, job.seq, job.id)).collect();
        due.sort_unstable();
        for (_, seq, id) in due.into_iter().take(100) {
            let at = self.job_at(id).unwrap();
            let job = &mut self.state.jobs[at];
            match job.state {
                State::Delayed => (job.state, job.due_at_ms) = (State::Queued, None),
                State::Nudged => self.nudge(at, now_ms),
                State::Leased => {
                    let mixed = seq * 2_654_435_761 + job.epoch * 40_503;
                    let seed = u32::try_from(mixed.rem_euclid(i64::from(u32::MAX))).unwrap();
                    self.fail_attempt(at, false, seed, now_ms);
                }
                State::Queued | State::Taken => unreachable!("they have no time"),
                _ => {
                    let forgotten_ms = super::notices::batched(job.finished_at_ms.unwrap() + HISTORY_MS);
                    if forgotten_ms > now_ms {
                        (job.has_body, job.due_at_ms) = (false, Some(forgotten_ms));
                    } else {
                        self.state.jobs.remove(at);
                    }
                }
            }
        }
        self.refill(now_ms);
    }
}
