//! From a seed to a list of steps. Each seed has a temper of its own (how fast time passes, how much goes wrong,
//! what clients mostly do), so that seeds reach different corners.

use std::rc::Rc;

use actors::shared::TenantId;
use actors::tenant::Policy;
use fastrand::Rng;

use crate::command::{Change, Question};
use crate::fault::StatementFault;
use crate::step::{Action, AdmitPick, Fault, JobAction, JobPick, KeyPick, Ring, Step};
use crate::{model, settings};

#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub start_ms: i64,
    pub policy: Rc<Policy>,
    pub tenants: Vec<TenantId>,
    pub steps: Vec<Step>,
}

/// What a seed is like.
struct Temper {
    /// How far the clock mostly goes in a step.
    pace_ms: i64,
    /// Of a thousand steps, those that go far ahead, and back.
    leaps: u16,
    backwards: u16,
    faults: u16,
    /// Weights of the actions, in the order of [`draw_action`].
    weights: [u16; ACTIONS],
    /// How many keys and fingerprints there are: few are used again soon.
    keys: u32,
    amount: i64,
}

const ACTIONS: usize = 15;

/// 2026-11-30T23:58:00Z: a day and a month end soon.
const START_MS: i64 = 1_796_083_080_000;

impl Temper {
    fn draw(rng: &mut Rng) -> Self {
        // Admit, progress, settle, release, retry, adjust, record, limits, ask, ring, deliver, evict, stranger, job, wait.
        let usual: [u16; ACTIONS] = [60, 16, 40, 8, 16, 14, 8, 6, 8, 14, 8, 3, 1, 90, 3];
        let weights = usual.map(|weight| match rng.u8(..6) {
            0 => weight / 4,
            1 => weight * 3,
            _ => weight,
        });
        Self {
            pace_ms: [5, 200, 2_000, 20_000][rng.usize(..4)],
            leaps: [0, 5, 30][rng.usize(..3)],
            backwards: [0, 0, 10, 60][rng.usize(..4)],
            faults: [0, 30, 120][rng.usize(..3)],
            weights,
            keys: [3, 12, 60][rng.usize(..3)],
            amount: [2_000, 20_000, 60_000][rng.usize(..3)],
        }
    }
}

pub fn scenario(seed: u64, steps: u32) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let temper = Temper::draw(&mut rng);
    let policy = Rc::new(settings::policy(&mut rng));
    let member = TenantId::Email(format!("member-{seed}@example.org"));
    let guest = TenantId::Guest(format!("guest-{seed}"));
    let tenants = match rng.u8(..6) {
        0 => vec![member, guest],
        1 => vec![guest],
        _ => vec![member],
    };
    let start_ms = START_MS - [0, 60_000, 3_600_000, 40 * model::DAY_MS][rng.usize(..4)];
    let mut made = Vec::with_capacity(steps as usize);
    for serial in 0..steps {
        let tenant = u8::try_from(rng.usize(..tenants.len())).unwrap();
        let first = serial < 2 * u32::try_from(tenants.len()).unwrap();
        let action = if first { draw_opening(&mut rng, serial) } else { draw_action(&mut rng, &temper) };
        let tenant = if first { u8::try_from(serial as usize % tenants.len()).unwrap() } else { tenant };
        let (clock_ms, fault) = (draw_clock(&mut rng, &temper), draw_fault(&mut rng, &temper));
        made.push(Step { serial, tenant, clock_ms, action, fault });
    }
    Scenario { seed, start_ms, policy, tenants, steps: made }
}

fn draw_clock(rng: &mut Rng, temper: &Temper) -> i64 {
    let at = rng.u16(..1_000);
    if at < temper.backwards {
        return -[50, 2_000, 70_000, 3_700_000, 30 * 3_600_000][rng.usize(..5)] * rng.i64(1..=3);
    }
    if at < temper.backwards + temper.leaps {
        return [60_000, 700_000, 3_600_000, model::DAY_MS, 8 * model::DAY_MS, 33 * model::DAY_MS]
            [rng.usize(..6)]
            + rng.i64(0..1_000);
    }
    match rng.u8(..10) {
        0..4 => 0,
        4..9 => rng.i64(0..=temper.pace_ms),
        _ => rng.i64(0..=temper.pace_ms * 8),
    }
}

fn draw_fault(rng: &mut Rng, temper: &Temper) -> Fault {
    if rng.u16(..1_000) >= temper.faults {
        return Fault::None;
    }
    match rng.u8(..9) {
        0..4 => Fault::Statement(StatementFault { nth: rng.u32(1..16), landed: rng.bool() }),
        4 => Fault::CommitReportedFailed,
        5 | 6 => Fault::ReplyLost,
        7 => Fault::CrashAfterCommit,
        _ => Fault::CrashBeforeCommit,
    }
}

/// Most tenants begin with credit, and many with settings of their own.
fn draw_opening(rng: &mut Rng, serial: u32) -> Action {
    if serial % 2 == 1 && rng.bool() {
        return Action::SetLimits { settings: settings::draw(rng), secret: serial };
    }
    let change = Change::Set(rng.i64(1..200) * 10_000);
    Action::Adjust { change, key: None, expires_in_ms: None }
}

fn draw_action(rng: &mut Rng, temper: &Temper) -> Action {
    let total: u16 = temper.weights.iter().sum();
    let mut at = rng.u16(..total);
    let mut kind = 0;
    while at >= temper.weights[kind] {
        at -= temper.weights[kind];
        kind += 1;
    }
    let request = rng.u32(..1_000);
    match kind {
        0 => Action::Admit(draw_admit(rng, temper)),
        1 => Action::Progress {
            request,
            charge_percent: rng.i64(0..=110),
            more: [0, 0, 1, 4][rng.usize(..4)] * rng.i64(0..=temper.amount),
            ttl_ms: draw_ttl(rng),
            tokens_percent: rng.i64(0..=80),
        },
        2 => Action::Settle {
            request,
            charge_percent: if rng.u8(..8) == 0 { rng.i64(100..=300) } else { rng.i64(0..=100) },
            tokens_percent: if rng.u8(..8) == 0 { rng.i64(100..=300) } else { rng.i64(0..=100) },
            reply: rng.u8(..8) > 0,
        },
        3 => Action::Release { request },
        4 => Action::Retry { back: rng.u32(..400) },
        5 => draw_adjust(rng, temper),
        6 => Action::Record {
            id: rng.u32(..40),
            cost: rng.bool().then(|| rng.i64(0..5_000)),
            created_ago_ms: rng.bool().then(|| rng.i64(0..100_000)),
            key: draw_key(rng, temper, 2),
        },
        7 => Action::SetLimits { settings: settings::draw(rng), secret: request },
        8 => Action::Ask(draw_question(rng)),
        9 => Action::Ring([Ring::Due, Ring::Due, Ring::Due, Ring::Now, Ring::Twice][rng.usize(..5)]),
        10 => Action::Deliver { delivery: request, delivered: rng.u8(..3) > 0, again: rng.u8(..4) == 0 },
        11 => Action::Evict,
        12 => Action::WrongTenant { request },
        13 => Action::Job(draw_job(rng, temper)),
        _ => Action::Wait,
    }
}

fn draw_job(rng: &mut Rng, temper: &Temper) -> JobAction {
    let (worker, seed) = (if rng.bool() { 0 } else { rng.u32(..8) }, rng.u32(..));
    match rng.u8(..40) {
        0..11 => JobAction::Create(draw_new_job(rng, temper)),
        11..21 => JobAction::Work {
            message: if rng.bool() { 0 } else { rng.u32(..50) },
            keep: rng.u8(..6) == 0,
            blind: rng.u8(..6) == 0,
        },
        21 => JobAction::LoseMessage { message: seed },
        22..24 => JobAction::Beat { worker, mark: rng.bool().then(|| rng.u32(..3)) },
        24..32 => JobAction::Complete {
            worker,
            charge_percent: if rng.u8(..8) == 0 { rng.i64(100..=300) } else { rng.i64(0..=100) },
            tokens_percent: rng.i64(0..=150),
        },
        32..35 => JobAction::Fail { worker, fatal: rng.u8(..4) == 0, seed },
        35 => JobAction::Die { worker, answered: rng.bool() },
        36..39 => JobAction::Patch { job: rng.u32(..6), status: rng.u8(..5) },
        _ => JobAction::RedriveAll { limit: rng.u32(1..4) },
    }
}

fn draw_new_job(rng: &mut Rng, temper: &Temper) -> JobPick {
    JobPick {
        kind: rng.u8(..2),
        priority: [5, 5, 1, 9][rng.usize(..4)],
        delay_ms: [None, None, Some(0), Some(3_000), Some(90_000)][rng.usize(..5)],
        amount: rng.i64(0..=temper.amount),
        ttl_ms: [5_000, 60_000, 600_000, 600_000][rng.usize(..4)],
        lease_ms: [1_000, 10_000, 60_000][rng.usize(..3)],
        attempts_max: rng.u32(1..4),
        wait_ms: [0, 500, 5_000][rng.usize(..3)],
        dedupe: (rng.u8(..5) == 0).then(|| rng.u8(..2)),
        api_key: [None, Some(0), Some(1)][rng.usize(..3)],
        models: [0b001, 0b011, 0b111, 0][rng.usize(..4)],
        tokens: rng.i64(0..12) * 50,
        // Keys of their own: a body is of one route.
        key: (rng.u8(..4) == 0).then(|| {
            let key = 500 + rng.u32(..temper.keys);
            KeyPick { key, body: key * 10 + u32::from(rng.u8(..15) == 0) }
        }),
    }
}

fn draw_ttl(rng: &mut Rng) -> i64 {
    [500, 5_000, 60_000, 60_000, 300_000][rng.usize(..5)]
}

fn draw_admit(rng: &mut Rng, temper: &Temper) -> AdmitPick {
    AdmitPick {
        amount: if rng.u8(..20) == 0 { 0 } else { rng.i64(1..=temper.amount) },
        ttl_ms: draw_ttl(rng),
        api_key: [None, Some(0), Some(1)][rng.usize(..3)],
        models: [0b001, 0b011, 0b111, 0b110, 0][rng.usize(..5)],
        requests: [1, 1, 1, 2][rng.usize(..4)],
        tokens: rng.i64(0..12) * 50,
        tier: [None, Some(0), Some(1)][rng.usize(..3)].filter(|_| rng.bool()),
        key: draw_key(rng, temper, 0),
        fingerprint: rng.bool().then(|| rng.u32(..temper.keys)),
    }
}

/// A key for a third of the requests. The body goes with the key, but for a few; `kind` keeps the routes apart.
fn draw_key(rng: &mut Rng, temper: &Temper, kind: u32) -> Option<KeyPick> {
    if rng.u8(..3) > 0 {
        return None;
    }
    let key = rng.u32(..temper.keys) * 3 + if rng.u8(..30) == 0 { rng.u32(..3) } else { kind };
    let body = key * 10 + kind * 3 + u32::from(rng.u8(..15) == 0);
    Some(KeyPick { key, body })
}

fn draw_adjust(rng: &mut Rng, temper: &Temper) -> Action {
    let amount = rng.i64(1..=temper.amount * 10);
    let change = match rng.u8(..12) {
        0 => Change::Set(rng.i64(-1..=temper.amount * 20)),
        1 => Change::Set(0),
        2 | 3 => Change::Delta(amount),
        4 => Change::Delta(-amount),
        5 if rng.u8(..10) == 0 => Change::Delta(1_000_000_000_000_000 - rng.i64(0..3)),
        _ => Change::Grant {
            amount: if rng.u8(..30) == 0 { 0 } else { amount },
            promotional: rng.bool(),
            priority: if rng.u8(..30) == 0 { 1_001 } else { [0, 10, 100, 100, 1_000][rng.usize(..5)] },
            expires_at_ms: None,
        },
    };
    let expires_in_ms =
        [None, None, Some(-1_000), Some(3_000), Some(60_000), Some(600_000), Some(2 * model::DAY_MS)];
    let at = if rng.u8(..30) == 0 { 2 } else { [0, 1, 3, 4, 5, 6][rng.usize(..6)] };
    Action::Adjust { change, key: draw_key(rng, temper, 1), expires_in_ms: expires_in_ms[at] }
}

fn draw_question(rng: &mut Rng) -> Question {
    match rng.u8(..9) {
        0 => Question::Balance,
        1 => Question::BalanceAt(rng.i64(0..60)),
        2 => Question::Usage,
        3 => Question::Entries,
        4 => Question::OpenHolds,
        5 => Question::ExpiredHolds,
        6 => Question::Notices,
        7 => Question::Limits,
        _ => Question::Verify,
    }
}
