//! Plans and settings that schedules draw: tight enough to be met, wide enough that work goes on.

use std::collections::BTreeMap;
use std::rc::Rc;

use actors::credits::caps::CapTerms;
use actors::jobs::JobLimits;
use actors::notices::Webhook;
use actors::rate::Limits;
use actors::shared::{Micro, Period};
use actors::tenant::{Policy, Settings, TopUp};
use fastrand::Rng;

use crate::command::{API_KEYS, MODELS, TIERS};
use crate::job_command::TYPES;

pub fn policy(rng: &mut Rng) -> Policy {
    let free = Limits {
        requests_per_minute: Some(20),
        requests_burst: Some(8),
        tokens_per_minute: Some(4_000),
        tokens_burst: None,
        credits_per_day: Some(Micro(2_000_000)),
        credits_burst: Some(Micro(500_000)),
        in_flight: Some(6),
        tiers: Some(vec![TIERS[0].to_owned()]),
    };
    let pro = Limits { requests_per_minute: Some(200), in_flight: Some(40), ..Limits::default() };
    let plans = [("free", free), ("pro", pro), ("open", Limits::default())];
    let usual = ["free", "pro", "open"][rng.usize(..3)];
    Policy {
        plans: plans.into_iter().map(|(name, limits)| (name.to_owned(), limits)).collect(),
        default_plan: usual.to_owned(),
        guest_plan: ["free", "open"][rng.usize(..2)].to_owned(),
        guest_grant: Micro(rng.i64(20..400) * 1_000),
        guest_grant_ttl_ms: [60_000, 3_600_000, 7 * 86_400_000][rng.usize(..3)],
    }
}

pub fn draw(rng: &mut Rng) -> Rc<Settings> {
    let mut settings = Settings {
        plan: some(rng, 30, |rng| ["free", "pro", "open"][rng.usize(..3)].to_owned()),
        limits: if rng.u8(..100) < 50 { limits(rng) } else { Limits::default() },
        keys: BTreeMap::new(),
        caps: Vec::new(),
        fingerprint_window_ms: if rng.u8(..100) < 60 { [2_000, 30_000, 600_000][rng.usize(..3)] } else { 0 },
        low_balance: some(rng, 60, |rng| Micro(rng.i64(0..60) * 10_000)),
        top_up: some(rng, 40, |rng| TopUp {
            below: Micro(rng.i64(1..60) * 10_000),
            amount: Micro(1_000_000),
        }),
        webhook: some(rng, 70, webhook),
        jobs: jobs(rng),
    };
    for key in API_KEYS {
        if rng.u8(..100) < 40 {
            settings.keys.insert(key.to_owned(), limits(rng));
        }
    }
    for at in 0..[0, 0, 1, 2, 3][rng.usize(..5)] {
        settings.caps.push(cap(rng, at));
    }
    if rng.u8(..100) < 4 {
        spoil(rng, &mut settings);
    }
    Rc::new(settings)
}

/// Few places, so that jobs wait for each other.
fn jobs(rng: &mut Rng) -> JobLimits {
    let mut limits = JobLimits { running: some(rng, 80, |rng| rng.u32(1..4)), ..JobLimits::default() };
    if rng.bool() {
        limits.running_by_type.insert(TYPES[rng.usize(..2)].to_owned(), rng.u32(1..3));
    }
    limits
}

fn some<T>(rng: &mut Rng, percent: u8, value: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    (rng.u8(..100) < percent).then(|| value(rng))
}

fn limits(rng: &mut Rng) -> Limits {
    Limits {
        requests_per_minute: some(rng, 50, |rng| rng.i64(0..30)),
        requests_burst: some(rng, 40, |rng| rng.i64(1..12)),
        tokens_per_minute: some(rng, 50, |rng| rng.i64(0..40) * 100),
        tokens_burst: some(rng, 40, |rng| rng.i64(1..20) * 100),
        credits_per_day: some(rng, 30, |rng| Micro(rng.i64(0..40) * 10_000)),
        credits_burst: some(rng, 30, |rng| Micro(rng.i64(1..40) * 5_000)),
        in_flight: some(rng, 40, |rng| rng.i64(0..6)),
        tiers: some(rng, 20, |rng| vec![TIERS[rng.usize(..2)].to_owned()]),
    }
}

fn webhook(rng: &mut Rng) -> Webhook {
    let url = ["https://one.example/hook", "https://two.example/hook"][rng.usize(..2)];
    // Without a secret it keeps the one it had, or gets a fresh one.
    Webhook { url: url.to_owned(), secret: ["", "", "own-secret"][rng.usize(..3)].to_owned() }
}

/// Ids are few and the terms vary, so that caps are kept, changed and replaced.
fn cap(rng: &mut Rng, at: usize) -> CapTerms {
    let limit = rng.i64(0..30) * 10_000 + 5_000;
    CapTerms {
        id: ["first", "second", "third"][at].to_owned(),
        period: if rng.bool() { Period::Day } else { Period::Month },
        limit: Micro(limit),
        soft: some(rng, 50, |rng| Micro(rng.i64(1..=limit))),
        api_key: some(rng, 30, |rng| API_KEYS[rng.usize(..2)].to_owned()),
        model: some(rng, 40, |rng| MODELS[rng.usize(..3)].to_owned()),
    }
}

/// What an operator gets wrong.
fn spoil(rng: &mut Rng, settings: &mut Settings) {
    match rng.u8(..3) {
        0 => settings.plan = Some("unheard-of".to_owned()),
        1 => settings.limits.requests_per_minute = Some(-1),
        _ => {
            let twice = cap(rng, 0);
            settings.caps = vec![twice.clone(), twice];
        }
    }
}
