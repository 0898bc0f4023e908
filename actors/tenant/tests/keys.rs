//! Idempotency keys, and requests alike without one.

use super::*;

fn window(window_ms: i64) -> Settings {
    Settings { fingerprint_window_ms: window_ms, ..Settings::default() }
}

/// A request that says of itself what it asks.
fn printed(hold: &str, digest: &str) -> Admission {
    Admission { fingerprint: Some(digest.to_owned()), ..request(hold, 1_000) }
}

impl Shell {
    fn replayed(&mut self, asked: Admission, now_ms: i64) -> Stored {
        match self.run(Command::Admit(Box::new(asked)), now_ms).unwrap().reply {
            Reply::Replay(stored) => stored,
            other => panic!("the request ran again: {other:?}"),
        }
    }

    fn keys_taken(&mut self) -> (String, String) {
        let mut count = |query| self.sql.text(query, &[]).unwrap().unwrap();
        (count("SELECT keys_taken FROM actor"), count("SELECT COUNT(*) FROM idempotency"))
    }
}

#[test]
fn the_same_key_and_body_is_one_charge_and_one_reply() {
    let mut shell = Shell::with_balance(10_000);
    let asks = |hold, body| Admission { idempotency: key(body), ..request(hold, 6_000) };
    shell.admit(asks("h", "a"), NOW_MS).unwrap();
    let early = shell.admit(asks("i", "a"), NOW_MS);
    assert!(matches!(early, Err(Refusal::IdempotencyInProgress)), "{early:?}");
    let other = shell.admit(asks("i", "b"), NOW_MS);
    assert!(matches!(other, Err(Refusal::IdempotencyConflict)), "{other:?}");
    shell.settle("h", 2_000, NOW_MS);
    for at_ms in [NOW_MS, NOW_MS + 1, NOW_MS + KEY_TTL_MS - 1] {
        let stored = shell.replayed(asks("i", "a"), at_ms);
        assert_eq!(stored.reply.get(), "\"reply of h\"");
        assert_eq!((stored.charged, stored.available), (Micro(2_000), Micro(8_000)));
    }
    let other = shell.admit(asks("i", "b"), NOW_MS);
    assert!(matches!(other, Err(Refusal::IdempotencyConflict)), "{other:?}");
    assert_eq!(shell.available(), 8_000);
}

#[test]
fn a_replay_counts_against_nothing_and_wakes_nobody() {
    let mut shell = Shell::with_balance(10_000);
    let asks = |hold| Admission { idempotency: key("a"), ..request(hold, 1_000) };
    shell.admit(asks("h"), NOW_MS).unwrap();
    shell.settle("h", 500, NOW_MS);
    for _ in 0..100 {
        shell.replayed(asks("i"), NOW_MS);
    }
    assert_eq!(shell.run(admit("i", 1_000, key("a")), NOW_MS).unwrap().effects, []);
    assert_eq!(shell.limits(NOW_MS).budgets[0].remaining, 12);
}

#[test]
fn a_charged_key_stays_used_without_a_reply_to_give_again() {
    let mut shell = Shell::with_balance(10_000);
    let quoted = |bytes: usize| RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2))).ok();
    for (n, (reply, kept)) in
        [(None, false), (quoted(REPLY_BYTES_MAX + 1), false), (quoted(REPLY_BYTES_MAX), true)]
            .into_iter()
            .enumerate()
    {
        let idempotency = Some(Idempotency { key: format!("k{n}"), body_hash: "a".to_owned() });
        let hold = format!("h{n}");
        shell.run(admit(&hold, 1_000, idempotency.clone()), NOW_MS).unwrap();
        let command = Command::Settle { hold, charge: Micro(1_000), usage: Usage::default(), reply };
        shell.run(command, NOW_MS).unwrap();
        let stored = shell.replayed(Admission { idempotency, ..request("again", 1_000) }, NOW_MS);
        assert_eq!((stored.reply.get() != "null", stored.charged), (kept, Micro(1_000)));
    }
    assert_eq!(shell.available(), 7_000);
}

#[test]
fn a_request_that_came_to_nothing_frees_its_key() {
    let mut shell = Shell::with_balance(10_000);
    let asks = |hold, body| Admission { idempotency: key(body), ..request(hold, 6_000) };
    shell.admit(asks("h", "a"), NOW_MS).unwrap();
    shell.release("h", NOW_MS);
    shell.admit(asks("i", "a"), NOW_MS).unwrap();
    // A worker that died: the hold expires, and the key is free again, also for another body.
    shell.ring(NOW_MS + TTL_MS);
    assert_eq!(shell.keys_taken().0, "1", "it stays where it is, in case that the work ends late");
    shell.admit(asks("j", "b"), NOW_MS + TTL_MS).unwrap();
    // The dead worker's late settle charges nothing and does not touch the new owner's key.
    let ended = shell.settle("i", 6_000, NOW_MS + TTL_MS + 1);
    assert_eq!((ended.end, ended.charged), (HoldEnd::Expired, Micro::ZERO));
    let late = shell.release("i", NOW_MS + TTL_MS + 1);
    assert!(!late.first);
    let waiting = shell.admit(asks("k", "b"), NOW_MS + TTL_MS + 2);
    assert!(matches!(waiting, Err(Refusal::IdempotencyInProgress)), "{waiting:?}");
}

#[test]
fn a_request_that_was_charged_in_part_keeps_its_key_whatever_its_end() {
    for expires in [false, true] {
        let mut shell = Shell::with_balance(10_000);
        let asks = |hold| Admission { idempotency: key("a"), ..request(hold, 1_000) };
        shell.admit(asks("h"), NOW_MS).unwrap();
        shell.run(progress("h", 300, 0, Usage::default()), NOW_MS).unwrap();
        let end_ms = if expires { NOW_MS + TTL_MS } else { NOW_MS };
        if expires {
            shell.ring(end_ms);
        } else {
            shell.release("h", end_ms);
        }
        let stored = shell.replayed(asks("i"), end_ms + KEY_TTL_MS - 1);
        assert_eq!((stored.reply.get(), stored.charged), ("null", Micro(300)));
        assert_eq!((stored.available, shell.available()), (Micro(9_700), 9_700));
        shell.admit(asks("i"), end_ms + KEY_TTL_MS).unwrap();
    }
}

#[test]
fn the_reply_of_work_that_ended_late_takes_the_place_of_none() {
    for expires in [false, true] {
        let mut shell = Shell::with_balance(10_000);
        let asks = || Admission { idempotency: key("a"), ..request("i", 1_000) };
        shell.admit(Admission { hold: "h".to_owned(), ..asks() }, NOW_MS).unwrap();
        shell.run(progress("h", 300, 0, Usage::default()), NOW_MS).unwrap();
        if expires {
            shell.ring(NOW_MS + TTL_MS);
        } else {
            shell.release("h", NOW_MS);
        }
        assert_eq!(shell.replayed(asks(), NOW_MS + TTL_MS).reply.get(), "null");
        let silent = Command::Settle {
            hold: "h".to_owned(),
            charge: Micro(500),
            usage: Usage::default(),
            reply: None,
        };
        shell.run(silent, NOW_MS + TTL_MS).unwrap();
        assert_eq!(shell.replayed(asks(), NOW_MS + TTL_MS).reply.get(), "null");
        shell.settle("h", 500, NOW_MS + TTL_MS);
        let stored = shell.replayed(asks(), NOW_MS + TTL_MS);
        assert_eq!((stored.reply.get(), stored.charged), ("\"reply of h\"", Micro(300)));
        // A reply that was given stays what it is.
        let other = RawValue::from_string("\"other\"".to_owned()).ok();
        let usage = Usage::default();
        let again = Command::Settle { hold: "h".to_owned(), charge: Micro(500), usage, reply: other };
        shell.run(again, NOW_MS + TTL_MS).unwrap();
        assert_eq!(shell.replayed(asks(), NOW_MS + TTL_MS).reply.get(), "\"reply of h\"");
    }
}

#[test]
fn a_key_is_finished_and_freed_only_by_the_hold_that_owns_it() {
    use super::super::idempotency;
    let mut shell = Shell::with_balance(10_000);
    shell.admit(Admission { idempotency: key("a"), ..request("owner", 1_000) }, NOW_MS).unwrap();
    let reply = RawValue::from_string("1".to_owned()).unwrap();
    let stored = Stored { reply, charged: Micro(1), available: Micro(2) };
    idempotency::finish(&mut shell.sql, "k", "another", &stored, NOW_MS).unwrap();
    idempotency::free(&mut shell.sql, "k", "another").unwrap();
    let waiting = shell.admit(Admission { idempotency: key("a"), ..request("next", 1_000) }, NOW_MS);
    assert!(matches!(waiting, Err(Refusal::IdempotencyInProgress)), "{waiting:?}");
    idempotency::finish(&mut shell.sql, "k", "owner", &stored, NOW_MS).unwrap();
    idempotency::free(&mut shell.sql, "k", "owner").unwrap();
    let other = Stored { charged: Micro(9), ..stored };
    idempotency::finish(&mut shell.sql, "k", "owner", &other, NOW_MS).unwrap();
    let kept = shell.replayed(Admission { idempotency: key("a"), ..request("next", 1_000) }, NOW_MS);
    assert_eq!(kept.charged, Micro(1), "the first reply stays");
}

#[test]
fn keys_are_forgotten_after_their_day() {
    let mut shell = Shell::with_balance(0);
    let one = || Adjustment::Delta(Micro(1_000));
    let outcome = shell.run(adjust(one(), key("a")), NOW_MS).unwrap();
    assert_eq!(wake(&outcome), Some(NOW_MS + KEY_TTL_MS));
    let replay = shell.run(adjust(one(), key("a")), NOW_MS + KEY_TTL_MS - 1).unwrap();
    assert!(matches!(replay.reply, Reply::Adjusted { replayed: true, .. }));
    let conflict = shell.run(adjust(one(), key("b")), NOW_MS + KEY_TTL_MS - 1);
    assert!(matches!(conflict, Err(Refusal::IdempotencyConflict)));
    assert_eq!(shell.available(), 1_000);
    shell.ring(NOW_MS + KEY_TTL_MS - 1);
    assert_eq!(shell.keys_taken(), ("1".to_owned(), "1".to_owned()));
    assert_eq!(shell.ring(NOW_MS + KEY_TTL_MS).next_at_ms, None);
    assert_eq!(shell.keys_taken(), ("0".to_owned(), "0".to_owned()));
    shell.run(adjust(one(), key("b")), NOW_MS + KEY_TTL_MS).unwrap();
    assert_eq!(shell.available(), 2_000);
    // A key whose day is over is free also before the alarm took it, and is counted once.
    shell.run(adjust(one(), key("c")), NOW_MS + 2 * KEY_TTL_MS).unwrap();
    assert_eq!((shell.available(), shell.keys_taken()), (3_000, ("1".to_owned(), "1".to_owned())));
}

#[test]
fn a_key_is_remembered_for_its_day_from_the_end_of_its_request() {
    let mut shell = Shell::with_balance(10_000);
    let day = Admission { idempotency: key("a"), ttl_ms: 2 * KEY_TTL_MS, ..request("h", 1_000) };
    shell.admit(day, NOW_MS).unwrap();
    let asks = || Admission { idempotency: key("a"), ..request("i", 1_000) };
    let long = shell.admit(asks(), NOW_MS + 2 * KEY_TTL_MS - 1);
    assert!(matches!(long, Err(Refusal::IdempotencyInProgress)), "as long as it is under way: {long:?}");
    shell.settle("h", 500, NOW_MS + KEY_TTL_MS);
    shell.replayed(asks(), NOW_MS + 2 * KEY_TTL_MS - 1);
    shell.admit(asks(), NOW_MS + 2 * KEY_TTL_MS).unwrap();
}

#[test]
fn keys_are_limited() {
    let mut shell = Shell::with_balance(1_000);
    let full = |shell: &mut Shell, taken| shell.tamper(&format!("UPDATE actor SET keys_taken = {taken}"));
    full(&mut shell, KEYS_MAX);
    let limit = KEYS_MAX;
    let refused = shell.run(adjust(Adjustment::Set(Micro(1)), key("a")), NOW_MS);
    assert!(matches!(refused, Err(Refusal::TooManyKeys { limit: at }) if at == limit), "{refused:?}");
    let refused = shell.run(admit("h", 1, key("a")), NOW_MS);
    assert!(matches!(refused, Err(Refusal::TooManyKeys { .. })), "{refused:?}");
    shell.run(admit("h", 1, None), NOW_MS).unwrap();
    full(&mut shell, KEYS_MAX - 1);
    shell.run(admit("i", 1, key("a")), NOW_MS).unwrap();
}

#[test]
fn a_reported_event_is_recorded_once_for_its_key() {
    let mut shell = Shell::with_balance(1_000);
    let report = |id: &str, created_at_ms, idempotency| Command::RecordUsage {
        id: id.to_owned(),
        usage: Usage { tokens_in: Some(3), ..Usage::default() },
        cost: Some(Micro(77)),
        created_at_ms,
        idempotency,
    };
    let outcome = shell.run(report("e", None, key("a")), NOW_MS + 3).unwrap();
    assert_eq!(wake(&outcome), Some(NOW_MS + 3 + KEY_TTL_MS));
    let Reply::Recorded { event, replayed: false } = outcome.reply else { panic!("{outcome:?}") };
    assert_eq!((event.created_at_ms, event.cost_micro), (NOW_MS + 3, Some(Micro(77))));
    let again = shell.run(report("f", None, key("a")), NOW_MS + 9).unwrap();
    let Reply::Recorded { event, replayed: true } = again.reply else { panic!("{again:?}") };
    assert_eq!((event.id.as_str(), event.created_at_ms), ("e", NOW_MS + 3));
    let other = shell.run(report("g", Some(12), None), NOW_MS).unwrap();
    let Reply::Recorded { event, .. } = &other.reply else { panic!("{other:?}") };
    assert_eq!((event.created_at_ms, &other.effects), (12, &vec![]));
    assert_eq!(
        (shell.available(), shell.limits(NOW_MS + 9).budgets[0].remaining),
        (1_000, 11),
        "two were counted"
    );
}

#[test]
fn what_was_answered_is_recalled_and_nothing_is_counted() {
    let mut shell = Shell::with_balance(1_000);
    let recall = |body: &str| Command::Recall { idempotency: key(body).unwrap() };
    let unknown = Idempotency { key: "unknown".to_owned(), ..key("a").unwrap() };
    let answer = |shell: &mut Shell, command| shell.run(command, NOW_MS + 1).map(|outcome| outcome.reply);
    assert!(matches!(answer(&mut shell, recall("a")), Ok(Reply::NotAnswered)));
    shell.run(admit("h", 100, key("a")), NOW_MS).unwrap();
    let left = shell.limits(NOW_MS + 1).budgets[0].remaining;
    assert!(matches!(answer(&mut shell, recall("a")), Err(Refusal::IdempotencyInProgress)));
    shell.settle("h", 40, NOW_MS);
    let Ok(Reply::Replay(stored)) = answer(&mut shell, recall("a")) else { panic!("it was answered") };
    assert_eq!(stored.charged, Micro(40));
    assert!(matches!(answer(&mut shell, recall("b")), Err(Refusal::IdempotencyConflict)));
    let unknown = Command::Recall { idempotency: unknown };
    assert!(matches!(answer(&mut shell, unknown), Ok(Reply::NotAnswered)));
    assert_eq!(shell.limits(NOW_MS + 1).budgets[0].remaining, left);
}

#[test]
fn what_costs_nothing_is_counted_in_the_budget_of_requests_alone() {
    let limits = Limits { in_flight: Some(1), requests_burst: Some(3), ..Limits::default() };
    let mut shell = Shell::with_settings(1_000, Settings { limits, ..Settings::default() });
    shell.admit(request("h", 1), NOW_MS).unwrap();
    for _ in 0..2 {
        let counted = shell.run(Command::Count, NOW_MS).unwrap();
        assert!(matches!(counted.reply, Reply::Counted) && counted.effects.is_empty(), "{counted:?}");
    }
    let refused = shell.run(Command::Count, NOW_MS);
    assert!(
        matches!(&refused, Err(Refusal::RateLimited { policy, .. }) if policy == "requests"),
        "{refused:?}"
    );
    assert_eq!(shell.available(), 999, "nothing but the hold");
}

#[test]
fn reports_are_slowed_down_by_the_budget_of_requests_but_not_by_holds() {
    let limits = Limits { in_flight: Some(1), requests_burst: Some(8), ..Limits::default() };
    let mut shell = Shell::with_settings(1_000, Settings { limits, ..Settings::default() });
    shell.admit(request("h", 1), NOW_MS).unwrap();
    let mut report = |n: i32| {
        let command = Command::RecordUsage {
            id: n.to_string(),
            usage: Usage::default(),
            cost: None,
            created_at_ms: None,
            idempotency: None,
        };
        shell.run(command, NOW_MS).map(|_| ())
    };
    for n in 0..7 {
        report(n).unwrap();
    }
    assert!(matches!(report(7), Err(Refusal::RateLimited { policy, .. }) if policy == "requests"));
}

#[test]
fn tokens_and_credits_that_are_used_up_keep_no_event_from_being_reported() {
    let (tokens_per_minute, credits_per_day) = (Some(10), Some(Micro(10)));
    let limits = Limits { tokens_per_minute, credits_per_day, ..Limits::default() };
    let mut shell = Shell::with_settings(1_000, Settings { limits, ..Settings::default() });
    shell.admit(request("h", 1), NOW_MS).unwrap();
    let usage = Usage { tokens_in: Some(500), ..Usage::default() };
    shell.run(settle_with("h", 500, usage), NOW_MS).unwrap();
    let refused = shell.admit(request("i", 1), NOW_MS);
    assert!(matches!(refused, Err(Refusal::RateLimited { .. })), "{refused:?}");
    let command = Command::RecordUsage {
        id: "r".to_owned(),
        usage: Usage::default(),
        cost: None,
        created_at_ms: None,
        idempotency: None,
    };
    assert!(shell.run(command, NOW_MS).is_ok());
}

#[test]
fn two_requests_alike_within_the_window_are_one() {
    let mut shell = Shell::with_settings(10_000, window(5_000));
    shell.admit(printed("h", "x"), NOW_MS).unwrap();
    let early = shell.admit(printed("i", "x"), NOW_MS + 1);
    assert!(matches!(early, Err(Refusal::IdempotencyInProgress)), "{early:?}");
    shell.settle("h", 400, NOW_MS + 100);
    assert_eq!(shell.replayed(printed("i", "x"), NOW_MS + 5_099).charged, Micro(400));
    shell.admit(printed("i", "x"), NOW_MS + 5_100).unwrap();
    shell.admit(printed("j", "y"), NOW_MS + 5_100).unwrap();
    let of_another = of_key("k", printed("l", "y"));
    shell.admit(of_another.clone(), NOW_MS + 5_100).unwrap();
    let again = shell.admit(Admission { hold: "m".to_owned(), ..of_another }, NOW_MS + 5_100);
    assert!(matches!(again, Err(Refusal::IdempotencyInProgress)), "{again:?}");
}

#[test]
fn a_request_alike_is_run_when_there_is_no_window_or_a_key_says_so() {
    let mut shell = Shell::with_settings(10_000, window(0));
    shell.admit(printed("h", "x"), NOW_MS).unwrap();
    shell.admit(printed("i", "x"), NOW_MS).unwrap();
    let mut shell = Shell::with_settings(10_000, window(5_000));
    shell.admit(printed("h", "x"), NOW_MS).unwrap();
    shell.admit(Admission { idempotency: key("a"), ..printed("i", "x") }, NOW_MS).unwrap();
    shell.admit(request("j", 1_000), NOW_MS).unwrap();
    assert_eq!(shell.keys_taken().0, "2");
}

#[test]
fn a_request_alike_that_runs_longer_than_the_window_is_still_one() {
    let mut shell = Shell::with_settings(10_000, window(100));
    shell.admit(printed("h", "x"), NOW_MS).unwrap();
    let again = shell.admit(printed("i", "x"), NOW_MS + TTL_MS - 1);
    assert!(matches!(again, Err(Refusal::IdempotencyInProgress)), "{again:?}");
}

/// A worker that was held up for longer than its hold lived: it answers its client, at the house's cost, and a
/// retry must get that answer and no second, charged one.
#[test]
fn a_late_settle_keeps_its_reply_for_its_key() {
    let mut shell = Shell::with_balance(10_000);
    shell.run(admit("h", 6_000, key("a")), NOW_MS).unwrap();
    shell.ring(NOW_MS + TTL_MS);
    let late = shell.settle("h", 2_000, NOW_MS + TTL_MS + 1);
    assert_eq!((late.end, late.charged), (HoldEnd::Expired, Micro::ZERO));
    let Reply::Replay(stored) = shell.run(admit("i", 6_000, key("a")), NOW_MS + TTL_MS + 2).unwrap().reply
    else {
        panic!("the request ran again")
    };
    assert_eq!((stored.reply.get(), stored.charged), ("\"reply of h\"", Micro::ZERO));
    assert_eq!(shell.available(), 10_000);
}
