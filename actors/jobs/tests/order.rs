//! Which job goes next, how many at a time, and that a message which was lost is sent again.

use super::*;

fn of(id: &str, kind: &str, priority: i64) -> NewJob {
    NewJob { kind: kind.to_owned(), priority, ..new_job(id) }
}

#[test]
fn higher_priority_goes_first_then_older() {
    let mut shop = Shop::running(8);
    for (id, priority) in [("low", 1), ("old", 5), ("new", 5), ("high", 9)] {
        shop.create(of(id, "si", priority)).unwrap();
    }
    let order: Vec<String> = (0..4).map(|n| shop.got(&format!("w{n}")).unwrap().0).collect();
    assert_eq!(order, ["high", "old", "new", "low"]);
    assert_eq!(shop.got("w"), None);
}

#[test]
fn no_more_run_than_may_of_the_tenant_and_of_a_type() {
    let mut shop = Shop::running(3);
    let running_by_type = [("slow".to_owned(), 1)].into();
    shop.limit(JobLimits { running: Some(3), running_by_type });
    for (id, kind) in [("s1", "slow"), ("s2", "slow"), ("f1", "fast"), ("f2", "fast"), ("f3", "fast")] {
        shop.create(of(id, kind, 5)).unwrap();
    }
    let sent: Vec<&str> = shop.nudges.iter().map(|nudge| nudge.job.as_str()).collect();
    assert_eq!(sent, ["s1", "f1", "f2"], "one message for each place");
    let got: Vec<Option<String>> = (0..4).map(|n| shop.got(&format!("w{n}")).map(|got| got.0)).collect();
    let named = |id: &str| Some(id.to_owned());
    assert_eq!(got, [named("s1"), named("f1"), named("f2"), None]);
    shop.nudges.clear();
    shop.complete("f1", 1, 1).unwrap();
    assert_eq!(
        shop.nudges.iter().map(|nudge| nudge.job.as_str()).collect::<Vec<_>>(),
        ["f3"],
        "not another slow one"
    );
    assert_eq!(shop.got("w"), Some(("f3".to_owned(), 1)));
    shop.complete("s1", 1, 1).unwrap();
    assert_eq!(shop.got("v"), Some(("s2".to_owned(), 1)));
    shop.verify();
}

#[test]
fn a_worker_gets_only_what_it_can_do() {
    let mut shop = Shop::running(8);
    shop.create(of("a", "audio", 9)).unwrap();
    shop.create(of("b", "si", 1)).unwrap();
    let asked = LeaseAsked { worker: "w".to_owned(), job: None, types: Some(vec!["si".to_owned()]) };
    let JobReply::Leased(Some(leased)) = shop.job(JobCommand::Lease(asked.clone())).unwrap() else {
        panic!()
    };
    assert_eq!(leased.job.id, "b");
    let other = LeaseAsked { worker: "v".to_owned(), ..asked };
    assert!(matches!(shop.job(JobCommand::Lease(other)), Ok(JobReply::Leased(None))));
}

#[test]
fn a_message_is_sent_again_until_a_lease_answers_it() {
    let mut shop = Shop::running(1);
    shop.make("a");
    shop.make("b");
    let mut waits = Vec::new();
    for again in 1..=7 {
        let before_ms = shop.now_ms;
        shop.nudges.clear();
        assert!(shop.ring_in_time());
        assert_eq!(shop.nudges, [Nudge { job: "a".to_owned(), kind: "si".to_owned(), again }]);
        waits.push((shop.now_ms - before_ms) / 1_000);
    }
    assert_eq!(waits, [15, 30, 60, 120, 240, 300, 300]);
    shop.lease("w", Some("a")).unwrap();
    shop.nudges.clear();
    shop.ring();
    assert!(shop.nudges.is_empty(), "{:?}", shop.nudges);
}

#[test]
fn the_same_worker_asking_again_gets_the_same_lease() {
    let mut shop = Shop::running(4);
    shop.make("a");
    shop.make("b");
    let first = shop.lease("w", Some("a")).unwrap();
    let again = shop.lease("w", Some("a")).unwrap();
    assert_eq!(shop.got("w"), Some(("a".to_owned(), 1)), "whatever it asks for");
    assert_eq!((first.job.epoch, again.job.epoch, again.job.life.attempts), (1, 1, 1));
    // A message that came twice brings somebody else, who gets another job.
    assert_eq!(shop.lease("v", Some("a")).unwrap().job.id, "b");
    assert!(shop.lease("u", Some("a")).is_none());
    assert!(shop.lease("u", Some("gone")).is_none());
}

#[test]
fn who_is_called_for_one_job_and_gets_another_leaves_the_first_to_be_called_for() {
    let mut shop = Shop::running(1);
    shop.create(of("low", "si", 1)).unwrap();
    shop.create(of("high", "si", 9)).unwrap();
    assert_eq!(shop.nudges.len(), 1);
    assert_eq!(shop.lease("w", Some("low")).unwrap().job.id, "high");
    assert_eq!(shop.state("low"), State::Queued, "its message has come");
    shop.nudges.clear();
    shop.complete("high", 1, 1).unwrap();
    assert_eq!(shop.nudges.len(), 1, "called for at once");
    assert_eq!(shop.nudges[0].job, "low");
}

#[test]
fn whatever_ends_a_job_calls_for_the_next() {
    type End = fn(&mut Shop);
    let ends: [(&str, End); 5] = [
        ("completed", |shop| drop(shop.complete("a", 1, 1).unwrap())),
        ("failed", |shop| drop(shop.fail("a", 1, "invalid_input").unwrap())),
        ("failed, to come again", |shop| drop(shop.fail("a", 1, "timeout").unwrap())),
        ("cancelled", |shop| drop(shop.cancel("a").unwrap())),
        ("lost", |shop| {
            shop.now_ms += LEASE_MS;
            shop.ring();
        }),
    ];
    for (how, end) in ends {
        let mut shop = Shop::running(1);
        shop.make("a");
        shop.make("b");
        shop.got("w").unwrap();
        shop.nudges.clear();
        end(&mut shop);
        assert_eq!(shop.nudges.iter().map(|nudge| nudge.job.as_str()).collect::<Vec<_>>(), ["b"], "{how}");
        shop.verify();
    }
}

#[test]
fn more_places_call_for_more_and_limits_have_bounds() {
    let mut shop = Shop::running(1);
    for id in ["a", "b", "c"] {
        shop.make(id);
    }
    shop.limit(JobLimits { running: Some(3), ..JobLimits::default() });
    assert_eq!(shop.wake_ms, Some(shop.now_ms));
    shop.ring();
    assert_eq!(shop.nudges.len(), 3);
    for running in [0, 65] {
        let jobs = JobLimits { running: Some(running), ..JobLimits::default() };
        assert!(matches!(jobs.check(), Err(Refusal::InvalidSetting { .. })));
    }
}

#[test]
fn ten_thousand_jobs_are_called_for_a_few_at_a_time_and_no_more_are_taken() {
    let mut shop = Shop::running(8);
    shop.make("first");
    // Counted as they would be; ten thousand of them are made in the benchmarks.
    shop.sql.execute("UPDATE limits SET counters = json_set(counters, '$.jobs_open', 10000)", &[]).unwrap();
    let refused = shop.create(new_job("more")).err();
    assert_eq!(refused, Some(Refusal::TooManyJobs { limit: i64::from(JOBS_OPEN_MAX) }));
}
