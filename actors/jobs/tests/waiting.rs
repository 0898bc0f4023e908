//! What time does to jobs: delays, deadlines, results that are forgotten, schedules.

use super::*;

#[test]
fn a_job_for_later_waits_and_its_hold_lasts_as_long() {
    let mut shop = Shop::new(50_000);
    let at_ms = NOW_MS + 86_400_000;
    let job = shop.create(NewJob { run_at_ms: Some(at_ms), ..new_job("a") }).unwrap();
    assert_eq!((job.state, job.due_at_ms), (State::Delayed, Some(at_ms)));
    assert_eq!(shop.open_holds()[0].deadline_ms, at_ms + TTL_MS);
    assert!(shop.nudges.is_empty() && shop.lease("w", None).is_none());
    assert_eq!(shop.wake_ms, Some(at_ms));
    shop.ring_in_time();
    assert_eq!((shop.now_ms, shop.nudges.len()), (at_ms, 1));
    assert_eq!(shop.got("w"), Some(("a".to_owned(), 1)));
    let past = shop.create(NewJob { run_at_ms: Some(5), ..new_job("b") }).unwrap();
    assert_eq!(past.state, State::Queued, "what was to run long ago runs now");
}

/// One that waits as long as it is asked to.
fn patient(id: &str) -> NewJob {
    NewJob { terms: Terms { wait_max_ms: WAIT_MS_MAX, ..terms() }, ..new_job(id) }
}

#[test]
fn a_job_ends_with_its_deadline_wherever_it_is_and_its_hold_with_it() {
    for setup in ["queued", "nudged", "leased", "delayed", "taken"] {
        let mut shop = Shop::running(1);
        let balance = shop.money().0;
        if setup == "queued" {
            shop.make("other");
            shop.got("v").unwrap();
        }
        shop.create(patient("a")).unwrap();
        match setup {
            "leased" => drop(shop.lease("w", Some("a")).unwrap()),
            "delayed" => {
                let error = JobError { code: "busy".to_owned(), message: String::new() };
                shop.lease("w", Some("a")).unwrap();
                let retry_after_ms = Some(TTL_MS - 1);
                let asked = Fail { id: "a".to_owned(), epoch: 1, error, retry_after_ms, seed: 0 };
                shop.ended(JobCommand::Fail(asked)).unwrap();
                shop.now_ms += TTL_MS - 2;
            }
            "taken" => drop(shop.patch("a", serde_json::json!({ "status": "running" })).unwrap()),
            _ => {}
        }
        assert_eq!(shop.state("a").name(), setup);
        shop.now_ms = NOW_MS + TTL_MS;
        shop.ring();
        let job = shop.get("a").job;
        assert_eq!((job.state, job.life.reason), (State::Failed, Some(Reason::Expired)), "{setup}");
        assert_eq!(shop.money(), (balance, 0, 0), "{setup}");
        assert_eq!(shop.complete("a", 1, 1).err(), Some(Refusal::StaleLease { status: "failed".to_owned() }));
        shop.verify();
    }
}

#[test]
fn a_deadline_that_another_command_finds_ends_the_job_too() {
    let mut shop = Shop::new(15_000);
    shop.make("a");
    shop.now_ms += TTL_MS;
    // The alarm is late, and the credit of the first is what the second needs.
    shop.make("b");
    assert_eq!((shop.state("a"), shop.state("b")), (State::Failed, State::Nudged));
    assert_eq!(shop.money(), (5_000, 10_000, 0));
    shop.verify();
}

#[test]
fn an_attempt_that_would_begin_after_the_deadline_is_not_made() {
    let mut shop = Shop::new(50_000);
    shop.create(patient("a")).unwrap();
    shop.got("w").unwrap();
    let error = JobError { code: "busy".to_owned(), message: String::new() };
    let asked = Fail { id: "a".to_owned(), epoch: 1, error, retry_after_ms: Some(TTL_MS), seed: 0 };
    let (job, _) = shop.ended(JobCommand::Fail(asked)).unwrap();
    assert_eq!((job.state, job.life.reason), (State::Failed, Some(Reason::Expired)));
    shop.verify();
}

#[test]
fn a_result_is_forgotten_after_its_time_and_the_job_after_thirty_days() {
    let mut shop = Shop::new(50_000);
    shop.make("a");
    shop.got("w").unwrap();
    shop.complete("a", 1, 10).unwrap();
    shop.make("dead");
    shop.got("w").unwrap();
    shop.fail("dead", 1, "invalid_input").unwrap();
    let (mut body_gone, mut job_gone) = (None, None);
    while job_gone.is_none() && shop.ring_in_time() {
        let bodies = shop.number("SELECT COUNT(*) FROM job_bodies");
        if bodies == 1 && body_gone.is_none() {
            body_gone = Some(shop.now_ms - NOW_MS);
            assert!(shop.get("a").result.is_none());
            assert!(shop.get("dead").params.is_some(), "it may begin anew");
        }
        if shop.number("SELECT COUNT(*) FROM jobs") == 0 {
            job_gone = Some(shop.now_ms - NOW_MS);
        }
    }
    let minute = |at_ms: i64| (at_ms / 60_000) * 60_000;
    assert_eq!(minute(body_gone.unwrap()), minute(86_400_000));
    assert_eq!(minute(job_gone.unwrap()), minute(HISTORY_MS));
    assert_eq!(shop.number("SELECT COUNT(*) FROM job_bodies"), 0);
    assert_eq!(shop.job(JobCommand::Get { id: "a".to_owned() }).err(), Some(Refusal::UnknownJob));
    shop.verify();
}

#[test]
fn one_alarm_does_a_hundred_jobs_and_comes_again_for_the_rest() {
    let mut shop = Shop::new(1_000_000_000);
    let at_ms = NOW_MS + 5_000;
    for n in 0..120 {
        shop.create(NewJob { run_at_ms: Some(at_ms), ..new_job(&format!("j{n}")) }).unwrap();
    }
    shop.now_ms = at_ms;
    let rung = shop.ring();
    assert_eq!(shop.number("SELECT COUNT(*) FROM jobs WHERE state = 'delayed'"), 20);
    assert_eq!(rung.next_at_ms, Some(at_ms), "at once");
    shop.ring();
    assert_eq!(shop.number("SELECT COUNT(*) FROM jobs WHERE state = 'delayed'"), 0);
    shop.verify();
}

fn schedule(next_run_ms: Option<i64>) -> NewSchedule {
    NewSchedule {
        id: "nightly".to_owned(),
        cron: "0 3 * * *".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        next_run_ms,
        job: new_job("template"),
    }
}

fn fire(
    shop: &mut Shop,
    job: &str,
    run_at_ms: i64,
    next_run_ms: i64,
) -> (Option<String>, bool, Option<Refusal>) {
    let fire = Fire {
        schedule: "nightly".to_owned(),
        run_at_ms,
        next_run_ms: Some(next_run_ms),
        job: job.to_owned(),
        priced: None,
    };
    match shop.job(JobCommand::Fire(fire)).unwrap() {
        JobReply::Fired { job, replayed, refused } => (job.map(|job| job.id), replayed, refused),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_of_a_schedule_is_asked_for_until_it_is_made_and_made_once() {
    let mut shop = Shop::new(25_000);
    let (first_ms, second_ms, third_ms) = (NOW_MS + 10_000, NOW_MS + 600_000, NOW_MS + 1_200_000);
    shop.job(JobCommand::SetSchedule(schedule(Some(first_ms)))).unwrap();
    assert_eq!(shop.wake_ms, Some(first_ms));
    for asked in 1..=3 {
        shop.ring_in_time();
        assert_eq!(shop.runs.len(), asked);
        assert_eq!(
            (shop.runs[asked - 1].run_at_ms, shop.runs[asked - 1].time_zone.as_str()),
            (first_ms, "Europe/Berlin")
        );
    }
    assert_eq!(shop.now_ms, first_ms + 60_000, "every half a minute");
    assert_eq!(fire(&mut shop, "run-1", first_ms, second_ms), (Some("run-1".to_owned()), false, None));
    assert_eq!(fire(&mut shop, "run-x", first_ms, second_ms), (None, true, None), "the same again");
    assert_eq!(shop.get("run-1").job.terms.schedule.as_deref(), Some("nightly"));
    shop.now_ms = second_ms;
    shop.ring();
    assert_eq!(fire(&mut shop, "run-2", second_ms, third_ms).0, Some("run-2".to_owned()));
    // No credit for the third: the schedule goes on, and says why there is no job.
    shop.now_ms = third_ms;
    let (job, replayed, refused) = fire(&mut shop, "run-3", third_ms, third_ms + 1);
    assert_eq!((job, replayed), (None, false));
    assert!(matches!(refused, Some(Refusal::InsufficientCredits { .. })));
    let JobReply::Schedules(all) = shop.job(JobCommand::ListSchedules).unwrap() else { panic!() };
    assert_eq!((all.len(), all[0].terms.next_run_ms), (1, Some(third_ms + 1)));
    let last = all[0].last.clone().unwrap();
    assert!(last.job.is_none() && last.refused.unwrap().contains("balance"));
    shop.verify();
}

#[test]
fn runs_of_a_schedule_that_must_not_overlap_are_one_while_it_lasts() {
    let mut shop = Shop::new(500_000);
    let job = NewJob { dedupe: Some("schedule:nightly".to_owned()), ..new_job("template") };
    shop.job(JobCommand::SetSchedule(NewSchedule { job, ..schedule(Some(NOW_MS + 1)) })).unwrap();
    assert_eq!(fire(&mut shop, "run-1", NOW_MS + 1, NOW_MS + 2).0, Some("run-1".to_owned()));
    assert_eq!(fire(&mut shop, "run-2", NOW_MS + 2, NOW_MS + 3).0, Some("run-1".to_owned()));
    assert_eq!(shop.number("SELECT COUNT(*) FROM jobs"), 1);
}

#[test]
fn schedules_are_limited_paused_and_deleted() {
    let mut shop = Shop::new(500_000);
    for n in 0..SCHEDULES_MAX {
        let new = NewSchedule { id: format!("s{n}"), ..schedule(Some(NOW_MS + 1)) };
        shop.job(JobCommand::SetSchedule(new)).unwrap();
    }
    let more = shop.job(JobCommand::SetSchedule(schedule(None))).err();
    assert_eq!(more, Some(Refusal::TooManySchedules { limit: SCHEDULES_MAX }));
    shop.job(JobCommand::DeleteSchedule { id: "s0".to_owned() }).unwrap();
    assert_eq!(
        shop.job(JobCommand::DeleteSchedule { id: "s0".to_owned() }).err(),
        Some(Refusal::UnknownSchedule)
    );
    for n in 1..SCHEDULES_MAX {
        let new = NewSchedule { id: format!("s{n}"), ..schedule(None) };
        shop.job(JobCommand::SetSchedule(new)).unwrap();
    }
    shop.now_ms += 1_000;
    shop.ring();
    assert!(shop.runs.is_empty(), "all are paused");
    let past = schedule(Some(shop.now_ms));
    assert!(matches!(shop.job(JobCommand::SetSchedule(past)), Err(Refusal::InvalidSetting { .. })));
}

#[test]
fn a_run_under_an_id_that_was_used_changes_nothing() {
    let mut shop = Shop::new(500_000);
    shop.make("used");
    shop.job(JobCommand::SetSchedule(schedule(Some(NOW_MS + 1)))).unwrap();
    let before = shop.money();
    let fire = Fire {
        schedule: "nightly".to_owned(),
        run_at_ms: NOW_MS + 1,
        next_run_ms: None,
        job: "used".to_owned(),
        priced: None,
    };
    assert_eq!(shop.job(JobCommand::Fire(fire)).err(), Some(Refusal::DuplicateOperation));
    assert_eq!(shop.money(), before);
    shop.verify();
    assert_eq!(fire_once(&mut shop), Some("fresh".to_owned()), "it is still to be made");
}

fn fire_once(shop: &mut Shop) -> Option<String> {
    fire(shop, "fresh", NOW_MS + 1, NOW_MS + 2).0
}

/// What the platform brings with a run: prices of its day.
fn priced(set: &str, micro: i64) -> Priced {
    Priced {
        set: set.to_owned(),
        params: RawValue::from_string(format!("{{\"quote\":{micro}}}")).unwrap(),
        amount: Micro(micro),
        models: vec!["new".to_owned()],
        weight: Weight { requests: 2, tokens: 20, micro: Micro(micro) },
    }
}

#[test]
fn a_run_is_made_by_the_prices_of_its_day() {
    let mut shop = Shop::new(500_000);
    let mut at_ms = NOW_MS + 1;
    let mut run = |shop: &mut Shop, job: &str, priced: Option<Priced>| {
        shop.now_ms = at_ms;
        let (run_at_ms, next_ms) = (at_ms, at_ms + 1);
        at_ms = next_ms;
        let fire = Fire {
            schedule: "nightly".to_owned(),
            run_at_ms,
            next_run_ms: Some(next_ms),
            job: job.to_owned(),
            priced,
        };
        match shop.job(JobCommand::Fire(fire)).unwrap() {
            JobReply::Fired { refused, .. } => refused,
            other => panic!("{other:?}"),
        }
    };
    shop.job(JobCommand::SetSchedule(schedule(Some(NOW_MS + 1)))).unwrap();
    shop.now_ms += 1;
    shop.ring();
    let asked = shop.runs.pop().expect("it is due");
    assert_eq!(
        (asked.set.as_str(), asked.kind.as_str(), asked.params),
        ("template", "si", "{\"input\":\"template\"}".to_owned())
    );
    assert_eq!(asked.terms, terms());
    assert_eq!(run(&mut shop, "dearer", Some(priced("template", 30_000))), None);
    let JobWithBody { job, params, .. } = shop.get("dearer");
    assert_eq!(
        (job.terms.amount, job.terms.owner.models, job.terms.owner.weight.tokens),
        (Micro(30_000), vec!["new".to_owned()], 20)
    );
    assert_eq!(
        (job.terms.owner.route, job.terms.schedule),
        (terms().owner.route, Some("nightly".to_owned()))
    );
    assert_eq!(params.unwrap().get(), "{\"quote\":30000}");
    assert_eq!(shop.account().held, Micro(30_000), "as much is set aside");
    // Without a price, with that of a schedule which was set anew meanwhile, or with more than is kept: as it was set.
    let long = RawValue::from_string(format!("\"{}\"", "x".repeat(STORED_PARAMS_BYTES_MAX))).unwrap();
    let too_long = Priced { params: long, ..priced("template", 1) };
    for (n, priced) in [None, Some(priced("before", 1)), Some(too_long)].into_iter().enumerate() {
        let id = format!("as-set-{n}");
        assert_eq!(run(&mut shop, &id, priced), None);
        let JobWithBody { job, params, .. } = shop.get(&id);
        assert_eq!((job.terms.amount, params.unwrap().get()), (Micro(AMOUNT), "{\"input\":\"template\"}"));
    }
    // What has become too dear is no job, and says why.
    let refused = run(&mut shop, "too-dear", Some(priced("template", 9_000_000)));
    assert!(matches!(refused, Some(Refusal::InsufficientCredits { .. })), "{refused:?}");
    shop.verify();
}
