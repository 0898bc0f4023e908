//! Jobs on the SQL that ships, through the commands of the tenant that owns them.

mod control;
mod life;
mod order;
mod random;
mod rates;
mod table;
mod told;
mod waiting;

use serde_json::value::RawValue;

use super::*;
use crate::credits::{Account, Adjustment, HoldState, ListedHold, Owner, Usage};
use crate::rate::{Limits, Weight};
use crate::shared::{Micro, Refusal, TenantId};
use crate::sql::Sql;
use crate::sqlite::Sqlite;
use crate::tenant::{
    self, Actor, Call, Command, Effect, Idempotency, JobCommand, JobReply, Outcome, Policy, RedriveAll,
    Reply, Rung, Settings,
};

const NOW_MS: i64 = 1_700_000_000_000;
const LEASE_MS: i64 = 60_000;
const TTL_MS: i64 = 3_600_000;
const AMOUNT: i64 = 10_000;

fn me() -> TenantId {
    TenantId::Email("me@x.io".to_owned())
}

fn policy() -> Policy {
    Policy { default_plan: "free".to_owned(), guest_plan: "free".to_owned(), ..Policy::default() }
}

/// A tenant, its shell and its clock.
struct Shop {
    sql: Sqlite,
    actor: Actor,
    now_ms: i64,
    /// Messages that were sent, and when the alarm is to ring.
    nudges: Vec<Nudge>,
    runs: Vec<ScheduleDue>,
    wake_ms: Option<i64>,
}

impl Shop {
    fn new(micro: i64) -> Self {
        let mut sql = Sqlite::in_memory().unwrap();
        let actor = sql.transaction(|sql| tenant::open(sql, &me(), &policy(), NOW_MS)).unwrap();
        let mut shop =
            Self { sql, actor, now_ms: NOW_MS, nudges: Vec::new(), runs: Vec::new(), wake_ms: None };
        let adjustment = Adjustment::Set(Micro(micro));
        shop.run(Command::Adjust {
            operation: "begin".to_owned(),
            adjustment,
            reason: None,
            reference: None,
            idempotency: None,
        })
        .unwrap();
        shop
    }

    /// One where so many may run at one time.
    fn running(running: u32) -> Self {
        let mut shop = Self::new(1_000_000_000);
        shop.limit(JobLimits { running: Some(running), ..JobLimits::default() });
        shop.ring();
        shop
    }

    fn limit(&mut self, jobs: JobLimits) {
        let settings = Box::new(Settings { jobs, ..Settings::default() });
        self.run(Command::SetLimits { settings, fresh_secret: "s".to_owned() }).unwrap();
    }

    fn run(&mut self, command: Command) -> Result<Reply, Refusal> {
        let call = Call { tenant: me(), api_key: None, request_id: None, command };
        // Through text, as across the stub.
        let call: Call = serde_json::from_str(&serde_json::to_string(&call).unwrap()).unwrap();
        let (actor, now_ms) = (&self.actor, self.now_ms);
        let done = self.sql.transaction(|sql| tenant::handle(sql, actor, &policy(), call, now_ms))?;
        let done: Outcome = serde_json::from_str(&serde_json::to_string(&done).unwrap()).unwrap();
        self.perform(done.effects);
        Ok(done.reply)
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Nudge(nudge) => self.nudges.push(nudge),
                Effect::RunSchedule(run) => self.runs.push(*run),
                Effect::WakeBy { at_ms } => {
                    self.wake_ms = Some(self.wake_ms.map_or(at_ms, |known| known.min(at_ms)));
                }
                Effect::Quarantine { .. } | Effect::EndSocketsOf { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn job(&mut self, command: JobCommand) -> Result<JobReply, Refusal> {
        match self.run(Command::Jobs(Box::new(command)))? {
            Reply::Jobs(reply) => Ok(*reply),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self, job: NewJob) -> Result<Job, Refusal> {
        match self.job(JobCommand::Create { job, idempotency: None })? {
            JobReply::Created { job, .. } => Ok(job),
            other => panic!("{other:?}"),
        }
    }

    fn make(&mut self, id: &str) -> Job {
        self.create(new_job(id)).unwrap()
    }

    fn lease(&mut self, worker: &str, job: Option<&str>) -> Option<Leased> {
        let asked = LeaseAsked { worker: worker.to_owned(), job: job.map(str::to_owned), types: None };
        match self.job(JobCommand::Lease(asked)).unwrap() {
            JobReply::Leased(leased) => leased,
            other => panic!("{other:?}"),
        }
    }

    /// The id of the job that a worker gets, and its epoch.
    fn got(&mut self, worker: &str) -> Option<(String, i64)> {
        self.lease(worker, None).map(|leased| (leased.job.id, leased.job.epoch))
    }

    fn complete(&mut self, id: &str, epoch: i64, charge: i64) -> Result<(Job, bool), Refusal> {
        let result = RawValue::from_string(format!("{{\"content\":\"of {id}\"}}")).unwrap();
        let usage = Usage { tokens_in: Some(3), tokens_out: Some(4), ..Usage::default() };
        let asked = Complete { id: id.to_owned(), epoch, charge: Micro(charge), usage, result };
        self.ended(JobCommand::Complete(asked))
    }

    fn fail(&mut self, id: &str, epoch: i64, code: &str) -> Result<(Job, bool), Refusal> {
        let error = JobError { code: code.to_owned(), message: "it went wrong".to_owned() };
        self.ended(JobCommand::Fail(Fail { id: id.to_owned(), epoch, error, retry_after_ms: None, seed: 7 }))
    }

    fn ended(&mut self, command: JobCommand) -> Result<(Job, bool), Refusal> {
        match self.job(command)? {
            JobReply::Ended { job, first } => Ok((job, first)),
            other => panic!("{other:?}"),
        }
    }

    fn patch(&mut self, id: &str, body: serde_json::Value) -> Result<Job, Refusal> {
        let patch = Patch::from_body(body.as_object().unwrap())?;
        match self.job(JobCommand::Patch { id: id.to_owned(), patch })? {
            JobReply::Changed(job) => Ok(job),
            other => panic!("{other:?}"),
        }
    }

    fn cancel(&mut self, id: &str) -> Result<Job, Refusal> {
        match self.job(JobCommand::Cancel { id: id.to_owned() })? {
            JobReply::Changed(job) => Ok(job),
            other => panic!("{other:?}"),
        }
    }

    fn redrive(&mut self, id: &str) -> Result<Job, Refusal> {
        match self.job(JobCommand::Redrive { id: id.to_owned(), idempotency: None })? {
            JobReply::Changed(job) => Ok(job),
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, id: &str) -> JobWithBody {
        match self.job(JobCommand::Get { id: id.to_owned() }).unwrap() {
            JobReply::Job(found) => found,
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self, id: &str) -> State {
        self.get(id).job.state
    }

    fn ring(&mut self) -> Rung {
        let (actor, now_ms) = (&self.actor, self.now_ms);
        let rung = self.sql.transaction(|sql| tenant::alarm(sql, actor, &policy(), now_ms)).unwrap();
        self.perform(rung.effects.clone());
        self.wake_ms = rung.next_at_ms;
        rung
    }

    /// The clock goes to where the alarm was asked for, and it rings.
    fn ring_in_time(&mut self) -> bool {
        let Some(at_ms) = self.wake_ms else { return false };
        self.now_ms = self.now_ms.max(at_ms);
        self.ring();
        true
    }

    fn account(&mut self) -> Account {
        match self.run(Command::Balance).unwrap() {
            Reply::Balance(account) => account,
            other => panic!("{other:?}"),
        }
    }

    fn money(&mut self) -> (i64, i64, i64) {
        let account = self.account();
        (account.available.0, account.held.0, account.settled.0)
    }

    fn open_holds(&mut self) -> Vec<ListedHold> {
        let asked = Command::ListHolds { state: HoldState::Open, limit: 100, cursor: None };
        match self.run(asked).unwrap() {
            Reply::Holds(page) => page.items,
            other => panic!("{other:?}"),
        }
    }

    fn number(&mut self, query: &str) -> i64 {
        self.sql.text(query, &[]).unwrap().map_or(0, |text| text.parse().unwrap())
    }

    /// Nothing that an audit finds.
    fn verify(&mut self) {
        match self.run(Command::Verify { from: 0, limit: 2_000 }).unwrap() {
            Reply::Verified(found) => assert_eq!(found.problems, Vec::<String>::new()),
            other => panic!("{other:?}"),
        }
    }

    fn verify_finds(&mut self, statement: &str, problem: &str) {
        self.sql.execute(&format!("PRAGMA ignore_check_constraints = ON; {statement}"), &[]).unwrap();
        match self.run(Command::Verify { from: 0, limit: 2_000 }) {
            Ok(Reply::Verified(found)) => {
                let known = found.problems.iter().any(|said| said.contains(problem));
                assert!(known, "{statement}: {:?}", found.problems);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn terms() -> Terms {
    let weight = Weight { requests: 1, tokens: 10, micro: Micro(AMOUNT) };
    Terms {
        amount: Micro(AMOUNT),
        owner: Owner { route: "/api/jobs".to_owned(), weight, ..Owner::default() },
        tier: None,
        ttl_ms: TTL_MS,
        lease_ms: LEASE_MS,
        attempts_max: 3,
        wait_first_ms: 1_000,
        wait_max_ms: 8_000,
        final_errors: vec!["invalid_input".to_owned()],
        result_ttl_ms: 86_400_000,
        schedule: None,
    }
}

/// A heartbeat of an attempt that got something done, and owes so much for it.
fn done_so_far(id: &str, epoch: i64, owed: i64) -> Beat {
    let checkpoint = RawValue::from_string("{\"result\":{\"items\":[1,null]}}".to_owned()).unwrap();
    let usage = Usage { tokens_in: Some(5), tokens_out: Some(6), ..Usage::default() };
    let owed = (owed > 0).then_some(Owed { charge: Micro(owed), usage });
    Beat { id: id.to_owned(), epoch, progress: None, checkpoint: Some(checkpoint), owed }
}

fn new_job(id: &str) -> NewJob {
    NewJob {
        id: id.to_owned(),
        kind: "si".to_owned(),
        params: RawValue::from_string(format!("{{\"input\":\"{id}\"}}")).unwrap(),
        priority: PRIORITY_DEFAULT,
        run_at_ms: None,
        dedupe: None,
        terms: terms(),
    }
}
