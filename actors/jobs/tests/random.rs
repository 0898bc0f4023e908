//! Whatever happens, in whatever order: the invariants of jobs, looked up in the database after every step.

use proptest::prelude::*;

use super::*;

/// What happens next; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Create {
        priority: i64,
        kind: u8,
        delay_ms: i64,
        attempts_max: u32,
    },
    Lease {
        message: u8,
        blind: bool,
    },
    Beat {
        lease: u8,
    },
    Complete {
        lease: u8,
        charge: i64,
    },
    Fail {
        lease: u8,
        is_final: bool,
    },
    Patch {
        job: u8,
        status: u8,
    },
    RedriveAll,
    /// The clock goes on, without an alarm.
    Wait {
        ms: i64,
    },
    Ring,
    RingInTime,
    Limit {
        running: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_i64, 0..2_u8, prop_oneof![Just(0), 1..20_000_i64], 1..4_u32).prop_map(
            |(priority, kind, delay_ms, attempts_max)| Step::Create { priority, kind, delay_ms, attempts_max }
        ),
        6 => (any::<u8>(), any::<bool>()).prop_map(|(message, blind)| Step::Lease { message, blind }),
        2 => any::<u8>().prop_map(|lease| Step::Beat { lease }),
        4 => (any::<u8>(), 0..15_000_i64).prop_map(|(lease, charge)| Step::Complete { lease, charge }),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(lease, is_final)| Step::Fail { lease, is_final }),
        2 => (any::<u8>(), 0..5_u8).prop_map(|(job, status)| Step::Patch { job, status }),
        1 => Just(Step::RedriveAll),
        2 => prop_oneof![0..2_000_i64, 0..200_000_i64, 3_000_000..4_000_000_i64].prop_map(|ms| Step::Wait { ms }),
        2 => Just(Step::Ring),
        3 => Just(Step::RingInTime),
        1 => (1..4_u32).prop_map(|running| Step::Limit { running }),
    ]
}

/// What the outside knows: jobs by name, every lease that was ever given, charges that were acknowledged.
#[derive(Default)]
struct Outside {
    jobs: Vec<String>,
    leases: Vec<(String, i64)>,
    charged: Vec<String>,
}

impl Outside {
    fn lease(&self, at: u8) -> Option<(String, i64)> {
        self.leases.get(usize::from(at) % self.leases.len().max(1)).cloned()
    }

    fn carry_out(&mut self, shop: &mut Shop, step: Step) {
        match step {
            Step::Create { priority, kind, delay_ms, attempts_max } => {
                let id = format!("j{}", self.jobs.len());
                let run_at_ms = Some(shop.now_ms + delay_ms);
                let kind = ["si", "audio"][usize::from(kind)].to_owned();
                let terms = Terms { attempts_max, ..terms() };
                if shop.create(NewJob { priority, kind, run_at_ms, terms, ..new_job(&id) }).is_ok() {
                    self.jobs.push(id);
                }
            }
            Step::Lease { message, blind } => {
                let named = shop.nudges.get(usize::from(message) % shop.nudges.len().max(1));
                let named = named.map(|nudge| nudge.job.clone()).filter(|_| !blind);
                let worker = format!("w{}", self.leases.len());
                if let Some(leased) = shop.lease(&worker, named.as_deref()) {
                    assert!(leased.params.is_some(), "its body is there");
                    self.leases.push((leased.job.id, leased.job.epoch));
                }
            }
            Step::Beat { lease } => {
                let Some((id, epoch)) = self.lease(lease) else { return };
                let beat = Beat { id, epoch, progress: None, checkpoint: None };
                let _stale = shop.job(JobCommand::Beat(beat));
            }
            Step::Complete { lease, charge } => {
                let Some((id, epoch)) = self.lease(lease) else { return };
                if let Ok((_, true)) = shop.complete(&id, epoch, charge) {
                    assert!(!self.charged.contains(&id), "{id} was charged twice");
                    self.charged.push(id);
                }
            }
            Step::Fail { lease, is_final } => {
                let Some((id, epoch)) = self.lease(lease) else { return };
                let _stale = shop.fail(&id, epoch, if is_final { "invalid_input" } else { "timeout" });
            }
            Step::Patch { job, status } => {
                let Some(id) = self.jobs.get(usize::from(job) % self.jobs.len().max(1)).cloned() else {
                    return;
                };
                let status = ["queued", "running", "succeeded", "failed", "cancelled"][usize::from(status)];
                let _illegal = shop.patch(&id, serde_json::json!({ "status": status }));
            }
            Step::RedriveAll => drop(
                shop.job(JobCommand::RedriveAll(RedriveAll { limit: 3, ..RedriveAll::default() })).unwrap(),
            ),
            Step::Wait { ms } => shop.now_ms += ms,
            Step::Ring => drop(shop.ring()),
            Step::RingInTime => drop(shop.ring_in_time()),
            Step::Limit { running } => {
                shop.limit(JobLimits { running: Some(running), ..JobLimits::default() });
            }
        }
    }
}

/// The invariants, by queries of this test's own.
fn check(shop: &mut Shop, outside: &Outside) {
    shop.verify();
    let live = shop.number("SELECT COUNT(*) FROM jobs WHERE state = 'leased'");
    assert!(live <= 8, "{live} run");
    let newest = "SELECT COUNT(*) FROM jobs AS j, json_each(?1) AS l WHERE j.state = 'leased'
       AND j.id = l.value ->> 0 AND j.epoch = l.value ->> 1";
    let leases = serde_json::to_string(&outside.leases).unwrap();
    let known = shop.sql.text(newest, &[leases.into()]).unwrap().unwrap();
    assert_eq!(known.parse::<i64>().unwrap(), live, "every live lease was given to somebody once");
    let charges = shop.number("SELECT COUNT(*) FROM entries WHERE kind = 'charge'");
    assert!(charges <= i64::try_from(outside.charged.len()).unwrap());
    let kept = shop.number("SELECT COUNT(*) FROM jobs");
    assert!(kept <= i64::try_from(outside.jobs.len()).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn jobs_end_once_and_with_their_holds(steps in prop::collection::vec(step(), 1..70)) {
        let mut shop = Shop::new(400_000);
        make_tables(&mut shop.sql).unwrap();
        let mut outside = Outside::default();
        for step in steps {
            outside.carry_out(&mut shop, step);
            check(&mut shop, &outside);
        }
        // No worker comes any more, and no message arrives: every job reaches an end by its deadline, by alarms alone.
        let latest_ms = shop.now_ms + TTL_MS + 20_000;
        while shop.number("SELECT COUNT(*) FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')") > 0 {
            prop_assert!(shop.ring_in_time(), "work is left, and no alarm is set");
            prop_assert!(shop.now_ms <= latest_ms, "later than the last deadline");
        }
        check(&mut shop, &outside);
        prop_assert_eq!(shop.open_holds().len(), 0);
    }
}
