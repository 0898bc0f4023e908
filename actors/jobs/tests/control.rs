//! What clients and operators do to jobs: cancel, change, begin anew.

use serde_json::json;

use super::*;

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
    let JobReply::Redriven { jobs, more, refused } = shop.job(JobCommand::RedriveAll { limit: 100 }).unwrap()
    else {
        panic!()
    };
    assert_eq!((jobs, more), (vec!["a".to_owned(), "b".to_owned()], true), "the oldest first");
    assert!(matches!(refused, Some(Refusal::InsufficientCredits { .. })));
    assert_eq!(shop.money(), (5_000, 20_000, 0));
    assert_eq!(shop.state("c"), State::Failed);
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
    let mut shops = vec![shop, owing(700), owing(700)];
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
