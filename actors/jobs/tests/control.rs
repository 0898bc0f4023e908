//! What clients and operators do to jobs: cancel, change, begin anew.

use serde_json::json;

use super::*;
use crate::keys;

#[test]
fn a_job_is_cancelled_wherever_it_is_and_costs_nothing() {
    let mut shop = Shop::running(1);
    let balance = shop.money().0;
    shop.make("running");
    shop.make("queued");
    shop.create(NewJob { run_at_ms: Some(NOW_MS + 5_000), ..new_job("later") }).unwrap();
    shop.got("w").unwrap();
    for id in ["running", "queued", "later"] {
        let job = shop.cancel(id).unwrap();
        assert_eq!((job.state, job.worker), (State::Cancelled, None), "{id}");
        assert_eq!(shop.cancel(id).unwrap().state, State::Cancelled, "again");
    }
    assert_eq!(shop.money(), (balance, 0, 0));
    assert_eq!(
        shop.complete("running", 1, 5).err(),
        Some(Refusal::StaleLease { status: "cancelled".to_owned() })
    );
    shop.verify();
    shop.make("done");
    let (id, epoch) = shop.got("v").unwrap();
    shop.complete(&id, epoch, 1).unwrap();
    let refused = shop.cancel("done").err();
    let (from, to) = ("succeeded".to_owned(), "cancelled".to_owned());
    assert_eq!(refused, Some(Refusal::InvalidTransition { from, to }));
}

#[test]
fn a_client_takes_a_job_does_it_itself_and_is_not_charged() {
    let mut shop = Shop::running(2);
    let balance = shop.money().0;
    shop.make("a");
    assert_eq!(shop.patch("a", json!({ "status": "running" })).unwrap().state, State::Taken);
    assert_eq!(shop.patch("a", json!({ "status": "running" })).unwrap().state, State::Taken);
    assert!(shop.lease("w", Some("a")).is_none(), "the message comes too late");
    assert_eq!(shop.patch("a", json!({ "status": "queued" })).unwrap().state, State::Queued);
    assert_eq!(shop.state("a"), State::Nudged, "called for again");
    shop.patch("a", json!({ "status": "running" })).unwrap();
    let done = shop.patch("a", json!({ "status": "succeeded", "result": { "content": "mine" } })).unwrap();
    assert_eq!((done.state, done.life.charged), (State::Succeeded, Micro::ZERO));
    assert_eq!(shop.get("a").result.unwrap().get(), "{\"content\":\"mine\"}");
    shop.make("b");
    let failed = shop.patch("b", json!({ "status": "failed" })).unwrap();
    assert_eq!((failed.state, failed.life.reason), (State::Failed, Some(Reason::Client)));
    assert_eq!(shop.money(), (balance, 0, 0));
    shop.verify();
}

#[test]
fn what_the_table_does_not_have_is_refused_and_what_is_protected_too() {
    let mut shop = Shop::running(4);
    shop.make("a");
    for body in [json!({ "id": "b" }), json!({ "credits_used": 0 }), json!({ "email": "x" })] {
        let field = body.as_object().unwrap().keys().next().unwrap().clone();
        assert_eq!(shop.patch("a", body).err(), Some(Refusal::ProtectedField { field }));
    }
    let protected = Some(Refusal::ProtectedField { field: "result".to_owned() });
    for body in [json!({ "result": 1 }), json!({ "result": 1, "status": "failed" })] {
        assert_eq!(shop.patch("a", body).err(), protected);
    }
    let wrong = shop.patch("a", json!({ "status": "done" })).err();
    assert!(matches!(wrong, Some(Refusal::InvalidSetting { field, .. }) if field == "status"));
    shop.got("w").unwrap();
    let refused =
        |from: &str, to: &str| Some(Refusal::InvalidTransition { from: from.to_owned(), to: to.to_owned() });
    for (status, to) in
        [("running", "running"), ("succeeded", "succeeded"), ("failed", "failed"), ("queued", "queued")]
    {
        assert_eq!(shop.patch("a", json!({ "status": status })).err(), refused("running", to));
    }
    shop.complete("a", 1, 1).unwrap();
    for to in ["queued", "running", "failed", "cancelled"] {
        assert_eq!(shop.patch("a", json!({ "status": to })).err(), refused("succeeded", to));
    }
    assert_eq!(shop.patch("a", json!({ "status": "succeeded" })).unwrap().state, State::Succeeded);
    let over = shop.patch("a", json!({ "status": "succeeded", "result": 2 })).err();
    assert_eq!(over, protected, "the result of a job that was paid for stays");
    assert_eq!(shop.patch("a", json!({})).unwrap().state, State::Succeeded);
}

#[test]
fn a_dead_job_begins_anew_with_a_hold_of_its_own() {
    let mut shop = Shop::running(1);
    shop.make("a");
    assert!(matches!(shop.redrive("a"), Err(Refusal::InvalidTransition { .. })));
    shop.got("w").unwrap();
    shop.fail("a", 1, "invalid_input").unwrap();
    shop.nudges.clear();
    let job = shop.redrive("a").unwrap();
    assert_eq!((job.life.redrives, job.life.attempts, job.life.error), (1, 0, None));
    assert_eq!(shop.nudges.len(), 1);
    let holds = shop.open_holds();
    assert_eq!((holds.len(), holds[0].id.as_str(), holds[0].owner.job.as_deref()), (1, "a-r1", Some("a")));
    shop.verify();
    assert_eq!(shop.fail("a", 1, "late").err(), Some(Refusal::StaleLease { status: "queued".to_owned() }));
    let leased = shop.lease("w", None).unwrap();
    assert_eq!((leased.job.epoch, leased.params.is_some()), (2, true));
    shop.complete("a", 2, 2_000).unwrap();
    assert_eq!(shop.money().2, 2_000);
    shop.verify();
    let usage = shop.sql.text("SELECT json_group_array(id) FROM usage_events", &[]).unwrap().unwrap();
    assert_eq!(usage, "[\"a-r1\"]");
}

#[test]
fn all_dead_jobs_begin_anew_as_far_as_the_credit_lasts() {
    let mut shop = Shop::new(35_000);
    for id in ["a", "b", "c"] {
        shop.make(id);
        let (id, epoch) = shop.got(id).unwrap();
        shop.fail(&id, epoch, "invalid_input").unwrap();
        shop.now_ms += 60_000;
    }
    let adjustment = Adjustment::Set(Micro(25_000));
    shop.run(Command::Adjust {
        operation: "less".to_owned(),
        adjustment,
        reason: None,
        reference: None,
        idempotency: None,
    })
    .unwrap();
    let (jobs, refused, next) = redriven(&mut shop, 100, None);
    assert_eq!((jobs, next), (vec!["a".to_owned(), "b".to_owned()], None), "the oldest first");
    assert!(matches!(refused[..], [(Refusal::InsufficientCredits { .. }, 1)]), "{refused:?}");
    assert_eq!(shop.money(), (5_000, 20_000, 0));
    assert_eq!(shop.state("c"), State::Failed);
    shop.verify();
}

type Redriven = (Vec<String>, Vec<(Refusal, u32)>, Option<String>);

fn redriven(shop: &mut Shop, limit: u32, cursor: Option<String>) -> Redriven {
    let asked = RedriveAll { limit, cursor, idempotency: None };
    match shop.job(JobCommand::RedriveAll(asked)).unwrap() {
        JobReply::Redriven { jobs, refused, next_cursor } => (jobs, refused, next_cursor),
        other => panic!("{other:?}"),
    }
}

/// Makes a job, which fails for good.
fn dead(shop: &mut Shop, new: NewJob) {
    let id = shop.create(new).unwrap().id;
    let epoch = shop.lease(&id, Some(&id)).unwrap().job.epoch;
    shop.fail(&id, epoch, "invalid_input").unwrap();
    shop.now_ms += 60_000;
}

fn dear(id: &str, micro: i64) -> NewJob {
    NewJob { terms: Terms { amount: Micro(micro), ..terms() }, ..new_job(id) }
}

fn set_balance(shop: &mut Shop, micro: i64) {
    shop.run(Command::Adjust {
        operation: format!("set {micro}"),
        adjustment: Adjustment::Set(Micro(micro)),
        reason: None,
        reference: None,
        idempotency: None,
    })
    .unwrap();
}

#[test]
fn what_is_refused_holds_nobody_back_who_is_behind_it() {
    let mut shop = Shop::new(1_000_000);
    for new in
        [dear("a", 500_000), dear("b", 500_000), dear("c", 10_000), dear("d", 500_000), dear("e", 10_000)]
    {
        dead(&mut shop, new);
    }
    set_balance(&mut shop, 100_000);
    // Two at a time: the first page is refused whole, and the next call goes on behind it.
    let (jobs, refused, next) = redriven(&mut shop, 2, None);
    assert_eq!(jobs, Vec::<String>::new());
    assert!(matches!(refused[..], [(Refusal::InsufficientCredits { .. }, 2)]), "{refused:?}");
    let (jobs, refused, next) = redriven(&mut shop, 2, Some(next.expect("there are more")));
    assert_eq!((jobs, refused.len(), refused[0].1), (vec!["c".to_owned()], 1, 1));
    let (jobs, refused, next) = redriven(&mut shop, 2, Some(next.expect("there are more")));
    assert_eq!((jobs, refused, next), (vec!["e".to_owned()], Vec::new(), None));
    for id in ["a", "b", "d"] {
        assert_eq!(shop.state(id), State::Failed);
    }
    shop.verify();
    let wrong = RedriveAll { limit: 2, cursor: Some("1-1-x".to_owned()), idempotency: None };
    assert_eq!(shop.job(JobCommand::RedriveAll(wrong)).err(), Some(Refusal::InvalidCursor));
}

#[test]
fn a_job_that_begins_anew_has_its_dedupe_key_again() {
    let mut shop = Shop::running(4);
    let new = |id: &str| NewJob { dedupe: Some("one".to_owned()), ..new_job(id) };
    dead(&mut shop, new("a"));
    dead(&mut shop, new("b"));
    assert_eq!(shop.redrive("a").unwrap().dedupe.as_deref(), Some("one"));
    assert_eq!(shop.create(new("c")).unwrap().id, "a", "the open one is the job");
    let (from, to) = ("failed".to_owned(), "queued".to_owned());
    let refused = Refusal::InvalidTransition { from, to };
    assert_eq!(shop.redrive("b").err(), Some(refused.clone()));
    assert_eq!(redriven(&mut shop, 9, None), (Vec::new(), vec![(refused, 1)], None));
    assert_eq!(shop.open_holds().len(), 1, "nothing is set aside for what was refused");
    shop.cancel("a").unwrap();
    assert_eq!(shop.redrive("b").unwrap().dedupe.as_deref(), Some("one"));
    shop.verify();
}

#[test]
fn what_is_given_back_before_its_time_waits_for_it() {
    let mut shop = Shop::running(1);
    let at_ms = NOW_MS + 60_000;
    shop.create(NewJob { run_at_ms: Some(at_ms), ..new_job("a") }).unwrap();
    for now_ms in [NOW_MS, NOW_MS + 59_999] {
        shop.now_ms = now_ms;
        shop.patch("a", json!({ "status": "running" })).unwrap();
        shop.wake_ms = None;
        let job = shop.patch("a", json!({ "status": "queued" })).unwrap();
        assert_eq!((job.state, job.due_at_ms, job.life.run_at_ms), (State::Delayed, Some(at_ms), at_ms));
        assert_eq!(shop.wake_ms, Some(at_ms), "the alarm rings at its time");
        assert!(shop.lease("w", Some("a")).is_none());
    }
    shop.patch("a", json!({ "status": "running" })).unwrap();
    shop.now_ms = at_ms;
    assert_eq!(shop.patch("a", json!({ "status": "queued" })).unwrap().state, State::Queued);
    assert!(shop.lease("w", Some("a")).is_some());
    shop.verify();
}

#[test]
fn one_idempotency_key_begins_a_job_anew_once() {
    let mut shop = Shop::new(1_000_000);
    dead(&mut shop, new_job("a"));
    dead(&mut shop, new_job("b"));
    let key = |name: &str| Some(Idempotency { key: format!("tenant:{name}"), body_hash: "h".to_owned() });
    let one = |name: &str| JobCommand::Redrive { id: "a".to_owned(), idempotency: key(name) };
    let JobReply::Changed(first) = shop.job(one("k")).unwrap() else { panic!() };
    let JobReply::Again(again) = shop.job(one("k")).unwrap() else { panic!() };
    assert!(matches!(*again, JobReply::Changed(job) if (job.state, job.epoch) == (first.state, first.epoch)));
    assert!(matches!(shop.job(one("other")), Err(Refusal::InvalidTransition { .. })));
    let all =
        |name: &str| JobCommand::RedriveAll(RedriveAll { limit: 9, cursor: None, idempotency: key(name) });
    assert_eq!(
        shop.job(JobCommand::RedriveAll(RedriveAll {
            idempotency: Some(Idempotency { body_hash: "x".to_owned(), ..key("k").unwrap() }),
            ..RedriveAll::default()
        }))
        .err(),
        Some(Refusal::IdempotencyConflict)
    );
    let JobReply::Redriven { jobs, .. } = shop.job(all("all")).unwrap() else { panic!() };
    assert_eq!(jobs, ["b"]);
    shop.now_ms += 1;
    for worker in ["v", "w"] {
        let (id, epoch) = shop.got(worker).unwrap();
        shop.fail(&id, epoch, "invalid_input").unwrap();
    }
    let JobReply::Again(again) = shop.job(all("all")).unwrap() else { panic!() };
    assert!(matches!(*again, JobReply::Redriven { jobs, .. } if jobs == ["b"]), "as it was then");
    assert_eq!(shop.open_holds().len(), 0, "no hold more");
    shop.verify();
}

/// A key's end is at once for what it would begin too.
#[test]
fn a_key_that_has_ended_begins_nothing_anew() {
    let mut shop = Shop::new(1_000_000);
    let key = keys::NewKey {
        id: "k".to_owned(),
        digest: "digest".to_owned(),
        name: "server".to_owned(),
        expires_at_ms: None,
    };
    shop.run(Command::CreateKey { key, cap: None, idempotency: None }).unwrap();
    let mut new = new_job("a");
    new.terms.owner.api_key = Some("k".to_owned());
    let set = NewSchedule {
        id: "nightly".to_owned(),
        cron: "0 3 * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        next_run_ms: Some(NOW_MS + 200_000),
        job: NewJob { id: "template".to_owned(), ..new.clone() },
    };
    shop.job(JobCommand::SetSchedule(set)).unwrap();
    let fire = |shop: &mut Shop, job: &str| {
        let run_at_ms = shop.now_ms;
        let next_run_ms = Some(run_at_ms + 100_000);
        let (schedule, job) = ("nightly".to_owned(), job.to_owned());
        let fire = Fire { schedule, run_at_ms, next_run_ms, job, priced: None };
        match shop.job(JobCommand::Fire(fire)).unwrap() {
            JobReply::Fired { job, refused, .. } => (job.map(|job| job.id), refused),
            other => panic!("{other:?}"),
        }
    };
    dead(&mut shop, new.clone());
    shop.redrive("a").unwrap();
    let epoch = shop.lease("w", Some("a")).unwrap().job.epoch;
    shop.now_ms = NOW_MS + 200_000;
    assert_eq!(fire(&mut shop, "by-day"), (Some("by-day".to_owned()), None));
    shop.run(Command::RevokeKey { id: "k".to_owned() }).unwrap();
    shop.fail("a", epoch, "invalid_input").unwrap();
    let before = shop.money();
    assert_eq!(shop.redrive("a").err(), Some(Refusal::CredentialEnded));
    assert_eq!(redriven(&mut shop, 9, None).1, [(Refusal::CredentialEnded, 1)]);
    shop.now_ms += 100_000;
    assert_eq!(fire(&mut shop, "by-night"), (None, Some(Refusal::CredentialEnded)));
    let JobReply::Schedules(all) = shop.job(JobCommand::ListSchedules).unwrap() else { panic!() };
    let last = all[0].last.clone().unwrap();
    assert_eq!((last.job, last.refusal), (None, Some(Refusal::CredentialEnded)));
    assert_eq!(last.refused.as_deref(), Some("the API key that it was made with has ended"));
    assert_eq!(all[0].terms.next_run_ms, Some(shop.now_ms + 100_000), "the next one is to come");
    assert_eq!(shop.money(), before, "nothing is set aside");
    // What was made before ends as it was meant.
    let epoch = shop.lease("v", Some("by-day")).unwrap().job.epoch;
    shop.complete("by-day", epoch, 5).unwrap();
    shop.verify();
}

#[test]
fn lists_go_newest_first_page_by_page_and_by_status() {
    let mut shop = Shop::running(2);
    for n in 0..7 {
        shop.now_ms += 1;
        shop.make(&format!("j{n}"));
    }
    shop.got("w").unwrap();
    let mut listed = Vec::new();
    let mut cursor = None;
    loop {
        let filter = JobFilter { limit: 3, cursor, ..JobFilter::default() };
        let JobReply::Page(page) = shop.job(JobCommand::List(filter)).unwrap() else { panic!() };
        listed.extend(page.items.into_iter().map(|job| job.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, ["j6", "j5", "j4", "j3", "j2", "j1", "j0"]);
    for (status, count) in [(Status::Queued, 6), (Status::Running, 1), (Status::Failed, 0)] {
        let filter = JobFilter { limit: 100, status: Some(status), ..JobFilter::default() };
        let JobReply::Page(page) = shop.job(JobCommand::List(filter)).unwrap() else { panic!() };
        assert_eq!(page.items.len(), count, "{status:?}");
    }
    let filter = JobFilter { limit: 5, cursor: Some("1-1-x".to_owned()), ..JobFilter::default() };
    assert_eq!(shop.job(JobCommand::List(filter)).err(), Some(Refusal::InvalidCursor));
    shop.create(NewJob { run_at_ms: Some(shop.now_ms + 9), ..new_job("later") }).unwrap();
    shop.now_ms += 5_000;
    let JobReply::Stats(stats) = shop.job(JobCommand::Stats).unwrap() else { panic!() };
    assert_eq!((stats.depth, stats.running, stats.delayed), (6, 1, 1));
    assert_eq!(stats.oldest_ms, Some(5_005));
    let by = |status| stats.by_type.iter().find(|part| part.status == status).map(|part| part.count);
    assert_eq!((by(Status::Queued), by(Status::Running)), (Some(7), Some(1)));
}

/// A job that runs, and whose worker said that it owes so much.
fn owing(owed: i64) -> Shop {
    let mut shop = Shop::running(1);
    shop.make("a");
    let (id, epoch) = shop.got("w").unwrap();
    shop.job(JobCommand::Beat(done_so_far(&id, epoch, owed))).unwrap();
    shop
}

const BEGUN: i64 = 1_000_000_000;

#[test]
fn a_cancelled_job_is_charged_what_it_got_done_and_shows_it() {
    let mut shop = owing(700);
    assert_eq!(shop.get("a").result.unwrap().get(), "{\"items\":[1,null]}", "while it runs");
    let job = shop.cancel("a").unwrap();
    assert_eq!(
        (job.state, job.life.charged, job.life.balance),
        (State::Cancelled, Micro(700), Some(Micro(BEGUN - 700)))
    );
    assert_eq!(shop.money(), (BEGUN - 700, 0, 700));
    assert_eq!(shop.get("a").result.unwrap().get(), "{\"items\":[1,null]}");
    assert_eq!(shop.number("SELECT COUNT(*) FROM usage_events WHERE tokens_in = 5 AND tokens_out = 6"), 1);
    assert!(shop.complete("a", 1, 900).is_err(), "its worker is late");
    assert_eq!(shop.money(), (BEGUN - 700, 0, 700));
    shop.verify();
}

#[test]
fn no_more_is_charged_than_was_set_aside() {
    let mut shop = owing(AMOUNT + 1);
    assert_eq!(shop.cancel("a").unwrap().life.charged, Micro(AMOUNT));
    shop.verify();
}

#[test]
fn what_is_owed_is_charged_at_every_other_end_too() {
    let mut shop = owing(700);
    assert_eq!(shop.fail("a", 1, "invalid_input").unwrap().0.life.charged, Micro(700));
    let mut shops = [shop, owing(700), owing(700)];
    shops[1].now_ms += TTL_MS;
    shops[1].ring();
    // A client takes it over after a failed attempt, and does the rest itself.
    shops[2].fail("a", 1, "timeout").unwrap();
    shops[2].patch("a", serde_json::json!({ "status": "succeeded", "result": 1 })).unwrap();
    for (shop, state) in shops.iter_mut().zip([State::Failed, State::Failed, State::Succeeded]) {
        assert_eq!((shop.state("a"), shop.money()), (state, (BEGUN - 700, 0, 700)));
        shop.verify();
    }
}

#[test]
fn a_completion_is_charged_once_with_what_was_owed_before_it() {
    let mut shop = owing(700);
    shop.complete("a", 1, 900).unwrap();
    assert_eq!(shop.money(), (BEGUN - 900, 0, 900));
}

#[test]
fn begun_anew_it_has_what_was_done_and_owes_nothing_for_it() {
    let mut shop = owing(700);
    shop.fail("a", 1, "invalid_input").unwrap();
    let job = shop.redrive("a").unwrap();
    assert_eq!(job.life.charged, Micro::ZERO);
    let leased = shop.lease("v", None).unwrap();
    assert!(leased.checkpoint.is_some());
    shop.cancel("a").unwrap();
    assert_eq!(shop.money(), (BEGUN - 700, 0, 700), "the first hold's charge, and no other");
    shop.verify();
}
