//! A job's life with its money: made with its hold, charged once with its result, and never left with either.

use super::*;

#[test]
fn a_job_is_made_with_its_hold_and_ends_with_its_charge() {
    let mut shop = Shop::new(50_000);
    let job = shop.make("a");
    assert_eq!((job.state, job.state.status()), (State::Queued, Status::Queued));
    assert_eq!(shop.money(), (40_000, AMOUNT, 0));
    assert_eq!(shop.nudges, [Nudge { job: "a".to_owned(), kind: "si".to_owned(), again: 0 }]);
    let hold = shop.open_holds().remove(0);
    assert_eq!(
        (hold.id.as_str(), hold.owner.job.as_deref(), hold.deadline_ms),
        ("a", Some("a"), NOW_MS + TTL_MS)
    );
    shop.verify();
    let leased = shop.lease("w", Some("a")).unwrap();
    assert_eq!((leased.job.epoch, leased.job.life.attempts), (1, 1));
    assert_eq!(leased.params.unwrap().get(), "{\"input\":\"a\"}");
    assert_eq!(leased.job.due_at_ms, Some(NOW_MS + LEASE_MS));
    shop.verify();
    let (done, first) = shop.complete("a", 1, 4_000).unwrap();
    assert!(first);
    assert_eq!(
        (done.state, done.life.charged, done.life.balance),
        (State::Succeeded, Micro(4_000), Some(Micro(46_000)))
    );
    assert_eq!((shop.money(), shop.open_holds().len()), ((46_000, 0, 4_000), 0));
    assert_eq!(shop.get("a").result.unwrap().get(), "{\"content\":\"of a\"}");
    let usage = "SELECT json_array(id, cost_micro, tokens_in, tokens_out) FROM usage_events";
    assert_eq!(shop.sql.text(usage, &[]).unwrap().unwrap(), "[\"a\",4000,3,4]");
    shop.verify();
}

#[test]
fn a_completion_that_comes_again_is_answered_the_same_and_charges_nothing() {
    let mut shop = Shop::new(50_000);
    shop.make("a");
    shop.got("w").unwrap();
    let (first, _) = shop.complete("a", 1, 4_000).unwrap();
    shop.run(Command::Adjust {
        operation: "more".to_owned(),
        adjustment: Adjustment::Delta(Micro(1)),
        reason: None,
        reference: None,
        idempotency: None,
    })
    .unwrap();
    let (again, is_first) = shop.complete("a", 1, 9_000).unwrap();
    assert!(!is_first);
    assert_eq!(serde_json::json!(first), serde_json::json!(again));
    assert_eq!(shop.money().2, 4_000);
}

#[test]
fn who_has_an_older_lease_is_refused_whatever_it_says() {
    let mut shop = Shop::new(50_000);
    shop.make("a");
    shop.got("first").unwrap();
    shop.now_ms += LEASE_MS;
    shop.ring();
    assert_eq!(shop.state("a"), State::Delayed);
    let stale = |status: &str| Some(Refusal::StaleLease { status: status.to_owned() });
    assert_eq!(shop.complete("a", 1, 1).err(), stale("queued"));
    while shop.state("a") == State::Delayed {
        assert!(shop.ring_in_time());
    }
    assert_eq!(shop.got("second"), Some(("a".to_owned(), 2)));
    assert_eq!(shop.complete("a", 1, 1).err(), stale("running"));
    assert_eq!(shop.fail("a", 1, "late").err(), stale("running"));
    let beat = Beat { id: "a".to_owned(), epoch: 1, progress: None, checkpoint: None };
    assert_eq!(shop.job(JobCommand::Beat(beat)).err(), stale("running"));
    shop.complete("a", 2, 1_000).unwrap();
    assert_eq!(shop.complete("a", 1, 1).err(), stale("succeeded"));
    assert_eq!((shop.money(), shop.number("SELECT COUNT(*) FROM usage_events")), ((49_000, 0, 1_000), 1));
    shop.verify();
}

#[test]
fn a_lease_that_ran_out_and_was_not_taken_yet_may_still_be_used() {
    let mut shop = Shop::new(50_000);
    shop.make("a");
    shop.got("w").unwrap();
    shop.now_ms += LEASE_MS + 5;
    shop.complete("a", 1, 1_000).unwrap();
    shop.ring();
    assert_eq!(shop.state("a"), State::Succeeded);
}

#[test]
fn a_heartbeat_keeps_the_lease_shows_progress_and_leaves_what_is_done_for_the_next() {
    let mut shop = Shop::new(50_000);
    shop.make("a");
    shop.got("w").unwrap();
    shop.now_ms += LEASE_MS - 1;
    let raw = |text: &str| Some(RawValue::from_string(text.to_owned()).unwrap());
    let beat =
        Beat { id: "a".to_owned(), epoch: 1, progress: raw("{\"done\":60}"), checkpoint: raw("[1,2]") };
    let JobReply::Beaten { until_ms } = shop.job(JobCommand::Beat(beat.clone())).unwrap() else { panic!() };
    assert_eq!(until_ms, NOW_MS + 2 * LEASE_MS - 1);
    shop.now_ms += 2;
    shop.ring();
    assert_eq!(shop.state("a"), State::Leased);
    shop.now_ms = until_ms;
    shop.ring();
    while shop.state("a") == State::Delayed {
        shop.ring_in_time();
    }
    let leased = shop.lease("v", None).unwrap();
    assert_eq!((leased.job.epoch, leased.checkpoint.unwrap().get()), (2, "[1,2]"));
    assert_eq!(shop.get("a").job.life.progress.unwrap().get(), "{\"done\":60}");
    for beat in [
        Beat { epoch: 2, progress: raw(&format!("\"{}\"", "x".repeat(PROGRESS_BYTES_MAX))), ..beat.clone() },
        Beat { epoch: 2, checkpoint: raw(&format!("\"{}\"", "x".repeat(CHECKPOINT_BYTES_MAX))), ..beat },
    ] {
        assert!(matches!(shop.job(JobCommand::Beat(beat)), Err(Refusal::InvalidSetting { .. })));
    }
}

#[test]
fn attempts_share_one_hold_and_end_in_the_dead_letter_list() {
    let mut shop = Shop::new(50_000);
    shop.make("a");
    for attempt in 1..=3 {
        while shop.state("a") == State::Delayed {
            assert!(shop.ring_in_time());
        }
        assert_eq!(shop.got("w"), Some(("a".to_owned(), attempt)));
        assert_eq!((shop.open_holds().len(), shop.money().1), (1, AMOUNT));
        let (job, first) = shop.fail("a", attempt, "timeout").unwrap();
        let (again, is_first) = shop.fail("a", attempt, "timeout").unwrap();
        assert!(first && !is_first && job.state == again.state, "a report that comes again");
    }
    let job = shop.get("a").job;
    assert_eq!((job.state, job.life.reason), (State::Failed, Some(Reason::AttemptsExhausted)));
    assert_eq!(job.life.error.unwrap().code, "timeout");
    assert_eq!(shop.money(), (50_000, 0, 0));
    shop.verify();
    let JobReply::Page(page) = shop.job(JobCommand::DeadLetters { limit: 5, cursor: None }).unwrap() else {
        panic!()
    };
    assert_eq!((page.items.len(), page.items[0].id.as_str()), (1, "a"));
}

#[test]
fn an_error_that_another_attempt_would_meet_again_is_the_end() {
    let mut shop = Shop::new(50_000);
    shop.make("a");
    shop.got("w").unwrap();
    let (job, _) = shop.fail("a", 1, "invalid_input").unwrap();
    assert_eq!((job.state, job.life.reason), (State::Failed, Some(Reason::FinalError)));
    assert_eq!(shop.money(), (50_000, 0, 0));
}

#[test]
fn waits_double_up_to_the_longest_and_are_spread() {
    let terms = terms();
    for (attempt, whole) in [(1, 1_000), (2, 2_000), (3, 4_000), (4, 8_000), (5, 8_000), (99, 8_000)] {
        let waits: Vec<i64> = (0..20_000).map(|seed| wait_ms(&terms, attempt, seed)).collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert_eq!((*least, *most), (whole / 2, whole), "attempt {attempt}");
    }
    let none = Terms { wait_first_ms: 0, ..terms };
    assert_eq!(wait_ms(&none, 4, 9), 0);
    // Whoever refused is left alone as long as it asked, within the longest wait.
    for (asked_ms, wait_ms) in [(5_000, 5_000), (8_000, 8_000), (30_000, 8_000), (i64::MAX, 8_000)] {
        let mut shop = Shop::new(50_000);
        shop.make("a");
        shop.got("w").unwrap();
        let error = JobError { code: "rate_limited".to_owned(), message: String::new() };
        let asked = Fail { id: "a".to_owned(), epoch: 1, error, retry_after_ms: Some(asked_ms), seed: 1 };
        let (job, _) = shop.ended(JobCommand::Fail(asked)).unwrap();
        assert_eq!((job.state, job.due_at_ms), (State::Delayed, Some(NOW_MS + wait_ms)), "{asked_ms}");
    }
}

#[test]
fn a_job_that_cannot_be_paid_for_is_not_made() {
    let mut shop = Shop::new(15_000);
    shop.make("a");
    let refused = shop.create(new_job("b"));
    assert!(matches!(refused, Err(Refusal::InsufficientCredits { .. })));
    assert_eq!(shop.number("SELECT COUNT(*) FROM jobs"), 1);
    assert_eq!(
        shop.create(new_job("a")).err(),
        Some(Refusal::InsufficientCredits {
            available: Micro(5_000),
            needed: Micro(AMOUNT),
            updated_at_ms: NOW_MS,
        })
    );
    shop.cancel("a").unwrap();
    assert_eq!(shop.create(new_job("a")).err(), Some(Refusal::DuplicateOperation), "its id was used");
    shop.verify();
}

#[test]
fn what_is_out_of_bounds_is_refused_by_its_name() {
    type Spoil = fn(&mut NewJob);
    let wrong: [(&str, Spoil); 13] = [
        ("id", |job| job.id = "A".to_owned()),
        ("id", |job| job.id = "a".repeat(ID_BYTES_MAX + 1)),
        ("type", |job| job.kind = String::new()),
        ("params", |job| {
            job.params =
                RawValue::from_string(format!("\"{}\"", "x".repeat(STORED_PARAMS_BYTES_MAX))).unwrap();
        }),
        ("priority", |job| job.priority = 10),
        ("run_at", |job| job.run_at_ms = Some(NOW_MS + DELAY_MS_MAX + 1)),
        ("dedupe_key", |job| job.dedupe = Some(String::new())),
        ("amount", |job| job.terms.amount = Micro(-1)),
        ("ttl_ms", |job| job.terms.ttl_ms = TTL_MS_MAX + 1),
        ("lease_ms", |job| job.terms.lease_ms = LEASE_MS_MIN - 1),
        ("final_errors", |job| job.terms.final_errors = vec!["x".repeat(CODE_BYTES_MAX + 1)]),
        ("attempts_max", |job| job.terms.attempts_max = ATTEMPTS_MAX + 1),
        ("result_ttl_ms", |job| job.terms.result_ttl_ms = HISTORY_MS + 1),
    ];
    let mut shop = Shop::new(500_000);
    for (name, spoil) in wrong {
        let mut job = new_job("a");
        spoil(&mut job);
        match shop.create(job) {
            Err(Refusal::InvalidSetting { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    shop.make("a");
    shop.got("w").unwrap();
    let result = RawValue::from_string(format!("\"{}\"", "x".repeat(RESULT_BYTES_MAX))).unwrap();
    let asked = Complete { id: "a".to_owned(), epoch: 1, charge: Micro(1), usage: Usage::default(), result };
    let refused = shop.job(JobCommand::Complete(asked));
    assert!(matches!(refused, Err(Refusal::InvalidSetting { field, .. }) if field == "result"));
    assert_eq!(shop.money().2, 0, "and nothing is charged");
}

#[test]
fn the_same_key_makes_one_job_and_a_dedupe_key_makes_one_at_a_time() {
    let mut shop = Shop::new(500_000);
    let key = |hash: &str| Some(Idempotency { key: "k".to_owned(), body_hash: hash.to_owned() });
    let asked = |id: &str, hash: &str| JobCommand::Create { job: new_job(id), idempotency: key(hash) };
    let JobReply::Created { job, replayed: false, .. } = shop.job(asked("a", "h")).unwrap() else { panic!() };
    let again = shop.job(asked("b", "h")).unwrap();
    let JobReply::Created { job: same, replayed: true, deduped: false } = again else { panic!("{again:?}") };
    assert_eq!((job.id.as_str(), same.id.as_str()), ("a", "a"));
    assert_eq!(shop.job(asked("c", "other")).err(), Some(Refusal::IdempotencyConflict));
    let with = |id: &str| NewJob { dedupe: Some("nightly".to_owned()), ..new_job(id) };
    assert_eq!(shop.create(with("d")).unwrap().id, "d");
    assert_eq!(shop.create(with("e")).unwrap().id, "d");
    assert_eq!(shop.open_holds().len(), 2);
    shop.cancel("d").unwrap();
    assert_eq!(shop.create(with("e")).unwrap().id, "e", "the first is over");
    shop.verify();
}

#[test]
fn jobs_that_wait_are_not_requests_in_flight() {
    let mut shop = Shop::new(1_000_000);
    let limits = Limits { in_flight: Some(2), ..Limits::default() };
    let settings = Box::new(Settings { limits, ..Settings::default() });
    shop.run(Command::SetLimits { settings, fresh_secret: String::new() }).unwrap();
    for id in ["a", "b", "c", "d"] {
        shop.make(id);
    }
    let ask = |hold: &str| {
        Command::Admit(Box::new(tenant::Admission {
            hold: hold.to_owned(),
            amount: Micro(1),
            ttl_ms: 1_000,
            owner: Owner::default(),
            tier: None,
            idempotency: None,
            fingerprint: None,
        }))
    };
    shop.run(ask("h1")).unwrap();
    shop.run(ask("h2")).unwrap();
    assert!(matches!(shop.run(ask("h3")), Err(Refusal::RateLimited { window_ms: 0, .. })));
    shop.make("e");
    shop.verify();
}

#[test]
fn a_tenant_without_jobs_has_no_tables_of_them() {
    let mut shop = Shop::new(50_000);
    shop.ring();
    assert!(!exists(&mut shop.sql).unwrap());
    assert_eq!(shop.job(JobCommand::Get { id: "a".to_owned() }).err(), Some(Refusal::UnknownJob));
    assert_eq!(shop.cancel("a").err(), Some(Refusal::UnknownJob));
    assert!(shop.lease("w", None).is_none());
    assert!(
        matches!(shop.job(JobCommand::Stats), Ok(JobReply::Stats(stats)) if stats == JobStats::default())
    );
    let Ok(JobReply::Page(page)) = shop.job(JobCommand::List(JobFilter { limit: 5, ..JobFilter::default() }))
    else {
        panic!()
    };
    assert!(page.items.is_empty() && !exists(&mut shop.sql).unwrap());
    shop.make("a");
    let stored = shop.sql.text("SELECT group_concat(sql) FROM sqlite_master WHERE tbl_name LIKE 'job%'", &[]);
    assert!(!stored.unwrap().unwrap().contains("--"), "the tables are made without their comments");
}

#[test]
fn an_audit_finds_what_is_wrong_with_jobs() {
    let cases = [
        ("UPDATE limits SET counters = json_set(counters, '$.jobs_open', 3)", "miscounted"),
        ("DELETE FROM jobs WHERE id = 'a'", "an open hold is of a job that is over"),
        ("UPDATE jobs SET state = 'failed' WHERE id = 'a'", "is over and is not"),
        ("UPDATE jobs SET life = json_set(life, '$.redrives', 1) WHERE id = 'a'", "has no open hold"),
        ("UPDATE jobs SET life = json_set(life, '$.attempts', 4) WHERE id = 'a'", "more attempts"),
        ("UPDATE jobs SET life = json_set(life, '$.charged_micro', 4) WHERE id = 'a'", "did not succeed"),
        ("UPDATE jobs SET state = 'leased', worker = 'w', epoch = 0 WHERE id = 'a'", "has no epoch"),
    ];
    for (statement, problem) in cases {
        let mut shop = Shop::new(50_000);
        shop.make("a");
        shop.make("b");
        shop.verify();
        shop.verify_finds(statement, problem);
    }
}

#[test]
fn the_hold_of_a_job_ends_with_the_job_and_by_nothing_else() {
    let mut shop = Shop::new(50_000);
    shop.make("a");
    let hold = || "a".to_owned();
    let usage = Usage::default;
    for command in [
        Command::Release { hold: hold() },
        Command::Settle { hold: hold(), charge: Micro(1), usage: usage(), reply: None },
        Command::Progress {
            hold: hold(),
            charge_total: Micro(1),
            hold_total: Micro(AMOUNT),
            ttl_ms: 1,
            usage: usage(),
        },
    ] {
        assert_eq!(shop.run(command).err(), Some(Refusal::UnknownHold));
    }
    assert_eq!(shop.money(), (40_000, AMOUNT, 0));
    shop.verify();
}

#[test]
fn an_error_is_kept_in_bounds() {
    let long = JobError::new(&"c".repeat(100), &"é".repeat(MESSAGE_BYTES_MAX));
    assert_eq!((long.code.len(), long.message.len()), (CODE_BYTES_MAX, MESSAGE_BYTES_MAX));
    let odd = JobError::new("c", &format!("x{}", "é".repeat(MESSAGE_BYTES_MAX)));
    assert_eq!(odd.message.len(), MESSAGE_BYTES_MAX - 1, "cut between characters");
}

/// Rows, indexes aside: storage is paid by them.
#[test]
fn a_job_writes_few_rows() {
    let mut shop = Shop::new(1_000_000);
    shop.make("first");
    let mut rows = Vec::new();
    let mut written = |shop: &mut Shop| rows.push(shop.sql.rows_changed());
    written(&mut shop);
    shop.make("a");
    written(&mut shop);
    shop.got("w").unwrap();
    written(&mut shop);
    shop.job(JobCommand::Beat(Beat { id: "first".to_owned(), epoch: 1, progress: None, checkpoint: None }))
        .unwrap();
    written(&mut shop);
    shop.complete("first", 1, 5).unwrap();
    written(&mut shop);
    let each: Vec<u64> = rows.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(each, [7, 2, 1, 8]);
}
