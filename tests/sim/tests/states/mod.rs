//! The states in which faults are injected, and the operations they are injected into.

mod jobs;

use std::rc::Rc;

use actors::credits::caps::CapTerms;
use actors::notices::Webhook;
use actors::rate::Limits;
use actors::shared::{Micro, Period, Refusal, TenantId};
use actors::sql::Sql;
use actors::sqlite::Sqlite;
use actors::tenant::{self, Call, Policy, Settings, TopUp};
use sim::command::{Adjust, Admit, Change, Cmd, Key, Progress, Question, Record, Settle, Used};
use sim::fault::Faulty;

const START_MS: i64 = 1_796_083_080_000;
/// When the operations run: holds and grants of the busy state are over by then, others are not.
const NOW_MS: i64 = START_MS + 120_000;

const OPEN: u32 = 1;
const KEYED: u32 = 2;
const PARTIAL: u32 = 3;
const OVERDUE: u32 = 4;
const EXPIRED: u32 = 5;
const SETTLED: u32 = 6;

pub struct State {
    pub name: &'static str,
    steps: Vec<(i64, Step)>,
}

enum Step {
    Do(Cmd),
    Ring,
}

type Run = Box<dyn Fn(&mut Faulty<'_, Sqlite>) -> Result<String, Refusal>>;

pub struct Op {
    pub name: &'static str,
    pub run: Run,
}

fn tenant_id() -> TenantId {
    TenantId::Guest("guest-of-faults".to_owned())
}

fn policy() -> Policy {
    Policy {
        plans: [("free".to_owned(), Limits::default())].into(),
        default_plan: "free".to_owned(),
        guest_plan: "free".to_owned(),
        guest_grant: Micro(50_000),
        guest_grant_ttl_ms: 100_000,
    }
}

impl State {
    pub fn build(&self) -> Sqlite {
        let mut database = Sqlite::in_memory().unwrap();
        if self.steps.is_empty() {
            return database;
        }
        database.transaction(|sql| tenant::open(sql, &tenant_id(), &policy(), START_MS)).unwrap();
        for (at_ms, step) in &self.steps {
            let done = database.transaction(|sql| match step {
                Step::Do(cmd) => carry(&mut Faulty::new(sql, None), cmd, *at_ms).map(drop),
                Step::Ring => ring(&mut Faulty::new(sql, None), *at_ms).map(drop),
            });
            done.unwrap();
        }
        database
    }
}

fn carry(sql: &mut Faulty<'_, Sqlite>, cmd: &Cmd, now_ms: i64) -> Result<String, Refusal> {
    let actor = tenant::open(sql, &tenant_id(), &policy(), now_ms)?;
    let call = Call { tenant: tenant_id(), api_key: None, request_id: None, command: cmd.build() };
    tenant::handle(sql, &actor, &policy(), call, now_ms).map(|outcome| format!("{outcome:?}"))
}

fn ring(sql: &mut Faulty<'_, Sqlite>, now_ms: i64) -> Result<String, Refusal> {
    let Some(actor) = tenant::reopen(sql)? else { return Ok("never opened".to_owned()) };
    tenant::alarm(sql, &actor, &policy(), now_ms).map(|rung| format!("{rung:?}"))
}

/// What the account owns and has paid, and what is held: what must not move twice.
pub fn money(database: &mut Sqlite) -> String {
    let query = "SELECT json_array(available_micro, held_micro, granted_micro, settled_micro, holds_open) FROM account";
    database.text(query, &[]).ok().flatten().unwrap_or_default()
}

fn admit(hold: u32, amount: i64, ttl_ms: i64, key: Option<u32>) -> Cmd {
    Cmd::Admit(Admit {
        hold,
        amount,
        ttl_ms,
        api_key: Some(0),
        models: 0b011,
        requests: 1,
        tokens: 100,
        tier: None,
        key: key.map(|key| Key { key, body: key }),
        fingerprint: Some(hold),
        job: None,
    })
}

fn used() -> Used {
    Used { tokens_in: 20, tokens_out: 30, model: Some(0) }
}

fn settle(hold: u32, charge: i64) -> Cmd {
    Cmd::Settle(Settle { hold, charge, used: used(), reply: true })
}

fn progress(hold: u32, charge_total: i64, hold_total: i64) -> Cmd {
    Cmd::Progress(Progress { hold, charge_total, hold_total, ttl_ms: 500_000, used: used() })
}

fn adjust(operation: u32, change: Change, key: Option<u32>) -> Cmd {
    Cmd::Adjust(Adjust { operation, change, key: key.map(|key| Key { key, body: key }) })
}

fn record(id: u32, key: Option<u32>) -> Cmd {
    Cmd::Record(Record { id, cost: Some(5), created_at_ms: None, key: key.map(|key| Key { key, body: key }) })
}

fn settings() -> Cmd {
    let limits = Limits {
        requests_per_minute: Some(100),
        tokens_per_minute: Some(100_000),
        credits_per_day: Some(Micro(10_000_000)),
        in_flight: Some(50),
        ..Limits::default()
    };
    let cap = |id: &str, model: Option<&str>, limit: i64| CapTerms {
        id: id.to_owned(),
        period: Period::Day,
        limit: Micro(limit),
        soft: Some(Micro(1_500)),
        api_key: None,
        model: model.map(str::to_owned),
    };
    let settings = Settings {
        limits: limits.clone(),
        keys: [("key-0".to_owned(), limits)].into(),
        caps: vec![cap("all", None, 900_000), cap("of-m0", Some("m0"), 500_000)],
        fingerprint_window_ms: 30_000,
        low_balance: Some(Micro(290_000)),
        top_up: Some(TopUp { below: Micro(280_000), amount: Micro(1_000_000) }),
        webhook: Some(Webhook { url: "https://one.example/hook".to_owned(), secret: String::new() }),
        ..Settings::default()
    };
    Cmd::SetLimits { settings: Rc::new(settings), secret: 1 }
}

/// Never opened; opened and funded; and one with everything under way.
pub fn states() -> Vec<State> {
    let grant = |amount, priority, ends_after_ms: Option<i64>| {
        let expires_at_ms = ends_after_ms.map(|after_ms| START_MS + after_ms);
        Change::Grant { amount, promotional: true, priority, expires_at_ms }
    };
    let funded = || {
        vec![
            (START_MS, Step::Do(adjust(100, grant(200_000, 100, None), None))),
            (START_MS, Step::Do(adjust(101, grant(3_000, 10, Some(60_000)), Some(50)))),
            (START_MS, Step::Do(adjust(102, grant(4_000, 10, Some(90_000)), None))),
            (START_MS, Step::Do(settings())),
        ]
    };
    let mut busy = funded();
    for (at_ms, cmd) in [
        (1, admit(SETTLED, 2_000, 60_000, Some(SETTLED))),
        (2, admit(EXPIRED, 3_000, 10_000, Some(EXPIRED))),
        (3, progress(EXPIRED, 700, 3_000)),
        (4, settle(SETTLED, 1_900)),
    ] {
        busy.push((START_MS + at_ms, Step::Do(cmd)));
    }
    for at_ms in [520_000, 520_001] {
        busy.push((START_MS + at_ms - 510_000, Step::Ring));
    }
    for (at_ms, cmd) in [
        (30_001, admit(OPEN, 5_000, 600_000, None)),
        (30_002, admit(KEYED, 5_000, 600_000, Some(KEYED))),
        (30_003, admit(PARTIAL, 6_000, 600_000, None)),
        (30_004, progress(PARTIAL, 2_500, 7_000)),
        (30_005, admit(OVERDUE, 5_000, 20_000, None)),
        (30_006, record(1, Some(60))),
        (30_007, adjust(103, Change::Set(20_000), Some(70))),
    ] {
        busy.push((START_MS + at_ms, Step::Do(cmd)));
    }
    busy.extend(jobs::under_way().into_iter().map(|(at_ms, cmd)| (START_MS + at_ms, Step::Do(cmd))));
    vec![
        State { name: "never opened", steps: Vec::new() },
        State { name: "funded", steps: funded() },
        State { name: "busy", steps: busy },
    ]
}

fn command(name: &'static str, cmd: Cmd) -> Op {
    Op { name, run: Box::new(move |sql| carry(sql, &cmd, NOW_MS)) }
}

pub fn all_operations() -> Vec<Op> {
    let grant = Change::Grant { amount: 7, promotional: false, priority: 5, expires_at_ms: Some(NOW_MS + 9) };
    let mut operations = vec![
        command("set", adjust(200, Change::Set(1_000), None)),
        command("delta", adjust(201, Change::Delta(-2_000), None)),
        command("grant", adjust(202, grant, None)),
        command("adjust with a key", adjust(203, Change::Delta(5_000), Some(71))),
        command("adjust again", adjust(204, Change::Set(20_000), Some(70))),
        command("admit", Cmd::Admit(Admit { fingerprint: None, ..asked(admit(300, 1_000, 60_000, None)) })),
        command("admit with a key", admit(301, 1_000, 60_000, Some(72))),
        command("admit what was settled", admit(302, 2_000, 60_000, Some(SETTLED))),
        command(
            "admit what waits for a hold",
            Cmd::Admit(Admit { fingerprint: None, ..asked(admit(303, 24_000, 1, None)) }),
        ),
        command("progress", progress(OPEN, 1_000, 6_000)),
        command("progress again", progress(PARTIAL, 2_500, 7_000)),
        command("settle", settle(OPEN, 4_000)),
        command("settle with a key", settle(KEYED, 4_000)),
        command("settle in the end", settle(PARTIAL, 5_000)),
        command("settle beyond", settle(OPEN, 400_000)),
        command("late settle", settle(EXPIRED, 2_000)),
        command("settle again", settle(SETTLED, 1_900)),
        command("release", Cmd::Release(OPEN)),
        command("release with a key", Cmd::Release(KEYED)),
        command("release what was charged in part", Cmd::Release(PARTIAL)),
        command("record usage with a key", record(2, Some(61))),
        command("record usage again", record(1, Some(60))),
        command("record usage", record(3, None)),
        command("set limits", settings()),
        Op { name: "alarm", run: Box::new(|sql| ring(sql, NOW_MS)) },
        Op { name: "late alarm", run: Box::new(|sql| ring(sql, NOW_MS + 40 * 86_400_000)) },
        Op { name: "reopen", run: Box::new(|sql| tenant::reopen(sql).map(|actor| format!("{actor:?}"))) },
    ];
    for (name, question) in [
        ("balance", Question::Balance),
        ("balance at", Question::BalanceAt(1)),
        ("list usage", Question::Usage),
        ("list entries", Question::Entries),
        ("list open holds", Question::OpenHolds),
        ("list expired holds", Question::ExpiredHolds),
        ("list notices", Question::Notices),
        ("limits", Question::Limits),
        ("verify", Question::Verify),
    ] {
        operations.push(command(name, Cmd::Ask(question)));
    }
    for (name, delivered) in [("note a delivery", true), ("note a failed delivery", false)] {
        let run: Run = Box::new(move |sql| {
            if tenant::reopen(sql)?.is_none() {
                return Ok("never opened".to_owned());
            }
            tenant::note_attempt(sql, 1, 1, delivered, "503", NOW_MS).map(|due| format!("{due:?}"))
        });
        operations.push(Op { name, run });
    }
    let quarantine: Run = Box::new(|sql| {
        if tenant::reopen(sql)?.is_none() {
            return Ok("never opened".to_owned());
        }
        tenant::quarantine(sql, "by hand").map(|()| String::new())
    });
    operations.push(Op { name: "quarantine", run: quarantine });
    operations.extend(jobs::operations());
    operations
}

fn asked(cmd: Cmd) -> Admit {
    match cmd {
        Cmd::Admit(asked) => asked,
        other => panic!("{other:?} is no admission"),
    }
}
