//! Jobs among the states: one in each place where a job can be.

use actors::jobs::{Fire, JobFilter, NewSchedule};
use actors::tenant::{self, Call, Command, JobCommand};
use sim::command::{Cmd, Key, Used};
use sim::job_command::{JobCmd, JobSpec, new_job};

use super::{NOW_MS, Op, START_MS, command, policy, tenant_id};

const LOST: u32 = 41;
const LEASED: u32 = 42;
const DEAD: u32 = 43;
const SCHEDULED: u32 = 60;
const DONE: u32 = 44;
const DELAYED: u32 = 45;
const TAKEN: u32 = 46;
const WAITING: u32 = 47;
/// Places in `STATUSES`.
const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const SUCCEEDED: u8 = 2;
const CANCELLED: u8 = 4;

fn spec(job: u32) -> JobSpec {
    JobSpec {
        job,
        kind: 0,
        priority: 5,
        run_at_ms: None,
        amount: 100,
        ttl_ms: 600_000,
        lease_ms: 500_000,
        attempts_max: 2,
        wait_ms: 1_000,
        dedupe: None,
        // What an ended key made is not begun anew, and the keys of this world are names alone.
        api_key: (![DEAD, SCHEDULED].contains(&job)).then_some(0),
        models: 0b001,
        tokens: 10,
        key: None,
    }
}

fn create(spec: JobSpec) -> Cmd {
    Cmd::Job(JobCmd::Create(spec))
}

fn lease(worker: u32, job: u32) -> Cmd {
    Cmd::Job(JobCmd::Lease { worker, job: Some(job) })
}

fn complete(job: u32) -> Cmd {
    let used = Used { tokens_in: 3, tokens_out: 4, model: Some(0) };
    Cmd::Job(JobCmd::Complete { job, epoch: 1, charge: 60, used })
}

fn fail(job: u32, fatal: bool) -> Cmd {
    Cmd::Job(JobCmd::Fail { job, epoch: 1, fatal, seed: 5 })
}

fn patch(job: u32, status: u8) -> Cmd {
    Cmd::Job(JobCmd::Patch { job, status })
}

/// By the time of the operations one lease has run out, one message is to be sent again, and one delay is over.
pub fn under_way() -> Vec<(i64, Cmd)> {
    let keyed = Some(Key { key: 80, body: 80 });
    vec![
        (31_000, create(JobSpec { lease_ms: 5_000, ..spec(LOST) })),
        (31_001, lease(1, LOST)),
        (31_002, create(spec(LEASED))),
        (31_003, lease(2, LEASED)),
        (31_004, Cmd::Job(JobCmd::Beat { job: LEASED, epoch: 1, mark: Some(1) })),
        (31_005, create(spec(DEAD))),
        (31_006, lease(3, DEAD)),
        (31_007, fail(DEAD, true)),
        (31_008, create(spec(DONE))),
        (31_009, lease(4, DONE)),
        (31_010, complete(DONE)),
        (31_011, create(JobSpec { run_at_ms: Some(START_MS + 60_000), ..spec(DELAYED) })),
        (31_012, create(spec(TAKEN))),
        (31_013, patch(TAKEN, RUNNING)),
        (31_014, create(JobSpec { key: keyed, dedupe: Some(1), ..spec(WAITING) })),
    ]
}

pub fn operations() -> Vec<Op> {
    let keyed = |key| Some(Key { key, body: key });
    let mut operations = vec![
        command("create a job", create(spec(50))),
        command("create a job with a key", create(JobSpec { key: keyed(81), ..spec(51) })),
        command("create what was created", create(JobSpec { key: keyed(80), ..spec(52) })),
        command("create what is there", create(JobSpec { dedupe: Some(1), ..spec(53) })),
        command(
            "create for later",
            create(JobSpec { run_at_ms: Some(NOW_MS + 5), key: keyed(82), ..spec(54) }),
        ),
        command("lease", lease(9, WAITING)),
        command("lease what is leased", lease(9, LEASED)),
        command("lease as before", lease(2, LEASED)),
        command("beat", Cmd::Job(JobCmd::Beat { job: LEASED, epoch: 1, mark: Some(2) })),
        command("complete", complete(LEASED)),
        command("complete again", complete(DONE)),
        command("complete too late", complete(WAITING)),
        command("fail", fail(LEASED, false)),
        command("fail for good", fail(LEASED, true)),
        command("fail again", fail(DEAD, true)),
        command("cancel what waits", patch(WAITING, CANCELLED)),
        command("cancel what runs", patch(LEASED, CANCELLED)),
        command("take", patch(WAITING, RUNNING)),
        command("give back", patch(TAKEN, QUEUED)),
        command("finish", patch(TAKEN, SUCCEEDED)),
        command("redrive", patch(DEAD, QUEUED)),
        command("redrive all", Cmd::Job(JobCmd::RedriveAll { limit: 5 })),
    ];
    let schedule = || {
        JobCommand::SetSchedule(NewSchedule {
            id: "nightly".to_owned(),
            cron: "0 3 * * *".to_owned(),
            time_zone: "UTC".to_owned(),
            next_run_ms: Some(NOW_MS + 1),
            job: new_job(&spec(SCHEDULED)),
        })
    };
    let fire = Fire {
        schedule: "nightly".to_owned(),
        run_at_ms: NOW_MS + 1,
        next_run_ms: Some(NOW_MS + 9),
        job: "h000061".to_owned(),
        priced: None,
    };
    for (name, asked) in [
        ("set a schedule", vec![schedule()]),
        ("set a schedule and make its run", vec![schedule(), JobCommand::Fire(fire)]),
        ("list schedules", vec![JobCommand::ListSchedules]),
        ("get a job", vec![JobCommand::Get { id: "h000044".to_owned() }]),
        ("list jobs", vec![JobCommand::List(JobFilter { limit: 5, ..JobFilter::default() })]),
        ("list dead letters", vec![JobCommand::DeadLetters { limit: 5, cursor: None }]),
        ("stats of jobs", vec![JobCommand::Stats]),
    ] {
        let run: super::Run = Box::new(move |sql| {
            let actor = tenant::open(sql, &tenant_id(), &policy(), NOW_MS)?;
            let mut said = Vec::new();
            for asked in asked.clone() {
                let command = Command::Jobs(Box::new(asked));
                let call = Call { tenant: tenant_id(), api_key: None, request_id: None, command };
                said.push(tenant::handle(sql, &actor, &policy(), call, NOW_MS)?);
            }
            Ok(format!("{said:?}"))
        });
        operations.push(Op { name, run });
    }
    operations
}
