//! What is held before anything is spent, what is charged of it, and what happens when there is no more.

use super::client::{Client, quiet};
use super::host::{Host, answer, me, settings};
use crate::shared::{Micro, ModelPrice};
use crate::voice::limits::{ASK_AGAIN_MS, GRACE_MS, PERIOD_LEAD_MS, PERIOD_MS, SESSION_MS_MAX};
use crate::voice::{Asked, Command, Control, Costs, Event, Prices, Settings, State, TenantAnswer, Used};

const MUCH: i64 = 1_000_000_000;

fn pair_with(settings: Settings, micro: i64) -> (Host, Client) {
    let mut host = Host::new(settings, micro);
    let client = Client::new(&mut host);
    (host, client)
}

fn utter(host: &mut Host, client: &mut Client) {
    client.speak(host);
    client.commit(host);
    quiet(host, client);
}

#[test]
fn each_part_of_a_turn_is_held_for_and_charged_apart() {
    let (mut host, mut client) = pair_with(settings(), MUCH);
    quiet(&mut host, &mut client);
    client.speak(&mut host);
    client.commit(&mut host);
    host.deliver_up(0);
    host.deliver_up(0);
    let ask = host.asks.back().unwrap().clone();
    // 20 s of listening, 1,100 tokens, 800 characters.
    let need = Costs {
        session: Micro::ZERO,
        listening: Micro(20_000),
        thinking: Micro(1_100_000),
        speaking: Micro(800_000),
    };
    assert!(matches!(ask.what, Asked::Admit { need: asked, .. } if asked == need), "{ask:?}");
    assert_eq!((ask.hold.as_str(), ask.turn, ask.tenant), ("s1-t1", Some(1), me()));
    assert!(host.called.is_empty(), "nothing is asked of a provider before the hold is there");
    quiet(&mut host, &mut client);
    let text = host.turns()[0].user_text.clone().unwrap();
    let characters = answer(&text).len();
    let costs = Costs {
        session: Micro::ZERO,
        listening: Micro::ZERO,
        thinking: Micro(50_000),
        speaking: Micro(i64::try_from(characters).unwrap() * 1_000),
    };
    let used = Used {
        costs,
        listened_ms: 100,
        tokens_in: 20,
        tokens_out: 30,
        characters: u64::try_from(characters).unwrap(),
        ..Used::default()
    };
    assert_eq!(host.tenant.settled["s1-t1"], (costs.sum(), used));
    assert_eq!(host.turns()[0].used, Some(used));
}

#[test]
fn attached_time_is_held_for_ahead_and_settled_by_stretches() {
    let (mut host, mut client) = pair_with(settings(), MUCH);
    quiet(&mut host, &mut client);
    assert_eq!(host.tenant.holds.len(), 1);
    host.wait(PERIOD_MS - PERIOD_LEAD_MS - 1);
    host.settle_down();
    assert_eq!(host.tenant.holds.len(), 1);
    host.wait(1);
    host.settle_down();
    assert_eq!(host.tenant.holds.len(), 2, "the next is asked for a minute before");
    host.wait(PERIOD_LEAD_MS + 30_000);
    host.settle_down();
    assert_eq!(host.tenant.settled["s1-m1"].0, Micro(300_000), "five minutes");
    // Whatever is lost and comes back, the sum is that of the attached time.
    for _ in 0..7 {
        host.lose_line(client.drop_line().unwrap());
        host.wait(5_000);
        host.settle_down();
        let open = host.tenant.holds.len() - host.tenant.settled.len();
        assert_eq!(open, 0, "nothing is held for who is not there");
        client.come_back(&mut host);
        quiet(&mut host, &mut client);
        host.wait(333);
    }
    client.control(&mut host, &Control::Bye);
    quiet(&mut host, &mut client);
    let charged: i64 = host.tenant.settled.values().map(|(charge, _)| charge.0).sum();
    let attached_ms = host.view().attached_ms;
    assert_eq!(attached_ms, PERIOD_MS + 30_000 + 7 * 333);
    assert_eq!(Micro(charged), settings().prices.attached(attached_ms));
}

#[test]
fn free_time_asks_nobody() {
    let prices = Prices { session: ModelPrice::flat(0), ..settings().prices };
    let (mut host, mut client) = pair_with(Settings { prices, ..settings() }, 0);
    quiet(&mut host, &mut client);
    host.wait(PERIOD_MS * 2);
    assert!(host.asks.is_empty() && host.view().attached);
}

#[test]
fn a_balance_that_is_low_is_announced_before_it_is_needed() {
    let hold = settings().prices.hold(&settings().bounds).sum().0;
    let minutes = settings().prices.attached_hold(PERIOD_MS).0;
    let (mut host, mut client) = pair_with(settings(), minutes + hold + hold / 2);
    quiet(&mut host, &mut client);
    let low = |client: &Client| {
        client.events.iter().filter(|event| **event == Event::LowBalance { ends_in_ms: None }).count()
    };
    assert_eq!(low(&client), 0);
    utter(&mut host, &mut client);
    assert_eq!(low(&client), 1);
    assert_eq!(host.turns()[0].state, State::Done, "what was held for is done");
    host.tenant.left = MUCH;
    utter(&mut host, &mut client);
    host.tenant.left = hold;
    utter(&mut host, &mut client);
    assert_eq!(low(&client), 2, "it was enough between");
}

#[test]
fn a_turn_that_cannot_be_paid_is_not_begun_and_ends_the_session_gracefully() {
    let hold = settings().prices.hold(&settings().bounds).sum().0;
    let minutes = settings().prices.attached_hold(PERIOD_MS).0;
    let (mut host, mut client) = pair_with(settings(), minutes + hold + 1_000);
    quiet(&mut host, &mut client);
    // Two at once: the first is held for, the second is not.
    for _ in 0..2 {
        client.speak(&mut host);
        client.commit(&mut host);
    }
    quiet(&mut host, &mut client);
    let turns = host.turns();
    assert_eq!((turns[0].state, turns[1].state), (State::Done, State::Failed));
    assert_eq!(turns[1].code.as_deref(), Some("insufficient_credits"));
    assert!(client.events.contains(&Event::LowBalance { ends_in_ms: Some(GRACE_MS) }));
    assert_eq!(client.over.as_deref(), Some("balance"));
    assert!(host.called.iter().all(|call| call.turn == 1));
    let place = |wanted: &Event| client.events.iter().position(|event| event == wanted).unwrap();
    let ended = Event::Ended { why: "balance".to_owned() };
    assert!(place(&Event::LowBalance { ends_in_ms: Some(GRACE_MS) }) < place(&ended));
}

#[test]
fn time_that_cannot_be_paid_ends_the_session_when_what_was_paid_is_over() {
    let minutes = settings().prices.attached_hold(PERIOD_MS).0;
    let (mut host, mut client) = pair_with(settings(), minutes + 1_000);
    quiet(&mut host, &mut client);
    host.wait(PERIOD_MS - PERIOD_LEAD_MS);
    host.settle_down();
    while client.hear(&mut host, 0) {}
    assert!(client.events.contains(&Event::LowBalance { ends_in_ms: Some(PERIOD_LEAD_MS) }));
    client.speak(&mut host);
    host.deliver_up(0);
    assert_eq!(host.number("SELECT COUNT(*) FROM turns"), 0, "nothing new is begun");
    host.wait(PERIOD_LEAD_MS);
    host.settle_down();
    assert_eq!(host.view().why.as_deref(), Some("balance"));
    assert_eq!(host.tenant.settled["s1-m1"].0, Micro(300_000));
    // None at all: at once, and nothing is charged.
    let (mut host, _client) = pair_with(settings(), 0);
    host.settle_down();
    assert_eq!(host.view().why.as_deref(), Some("balance"));
    assert!(host.tenant.settled.is_empty() && host.view().charged_micro == Micro::ZERO);
}

#[test]
fn a_tenant_that_does_not_answer_is_asked_again_and_more_and_more_rarely() {
    let (mut host, _client) = pair_with(settings(), MUCH);
    let mut times = Vec::new();
    for _ in 0..5 {
        assert_eq!(host.asks.len(), 1);
        times.push(host.now_ms);
        host.asks.clear();
        let at_ms = host.number("SELECT MIN(again_at_ms) FROM holds");
        host.wait(at_ms - host.now_ms);
    }
    let waits: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits, [1, 2, 4, 8].map(|times| times * ASK_AGAIN_MS));
    // An answer that comes twice, or late, or to nothing, changes nothing.
    host.settle_down();
    let before = host.sql.image().unwrap();
    for (hold, answer) in [
        ("s1-m1", TenantAnswer::Refused { code: "x".to_owned() }),
        ("s1-m1", TenantAnswer::Ended),
        ("nobody", TenantAnswer::Granted { available: Micro::MAX }),
    ] {
        host.run(Command::TenantAnswered { hold: hold.to_owned(), answer });
    }
    assert_eq!(host.view().held_micro, settings().prices.attached_hold(PERIOD_MS));
    assert_eq!(host.sql.image().unwrap().len(), before.len());
}

#[test]
fn a_host_that_lost_its_memory_asks_at_once_what_was_not_answered() {
    let (mut host, mut client) = pair_with(settings(), MUCH);
    client.hear(&mut host, 0);
    client.speak(&mut host);
    host.deliver_up(0);
    host.die(true);
    let asked: Vec<&str> = host.asks.iter().map(|ask| ask.hold.as_str()).collect();
    assert_eq!(asked, ["s1-m1", "s1-t1"]);
}

#[test]
fn a_tenant_that_never_answers_lets_nobody_stay() {
    let (mut host, mut client) = pair_with(settings(), MUCH);
    client.hear(&mut host, 0);
    client.speak(&mut host);
    host.deliver_up(0);
    host.wait(PERIOD_MS);
    assert_eq!(host.view().why.as_deref(), Some("unpaid"));
    assert!(host.called.is_empty());
}

#[test]
fn what_never_reached_a_client_is_not_charged() {
    for says_goodbye in [true, false] {
        let (mut host, mut client) = pair_with(settings(), MUCH);
        quiet(&mut host, &mut client);
        client.speak(&mut host);
        client.commit(&mut host);
        host.deliver_up(0);
        host.deliver_up(0);
        if !says_goodbye {
            host.lose_line(0);
        }
        host.settle_down();
        assert!(host.turns()[0].used.is_none(), "not settled while its client may come back");
        if says_goodbye {
            host.lines[0].up.push_back(crate::voice::Message::Text(r#"{"type":"bye"}"#.to_owned()));
            host.deliver_up(0);
        } else {
            host.wait(super::host::WINDOW_MS);
        }
        host.settle_down();
        let used = host.turns()[0].used.unwrap();
        let all = u64::try_from(answer(host.turns()[0].user_text.as_deref().unwrap()).len()).unwrap();
        // Whoever leaves had what was sent; whoever was lost did not.
        assert_eq!(used.characters, if says_goodbye { all } else { 0 });
        assert_eq!((used.listened_ms, used.tokens_out), (100, 30));
        assert_eq!(host.turns()[0].heard.is_empty(), !says_goodbye);
        assert_eq!(host.tenant.holds.len(), host.tenant.settled.len());
    }
}

#[test]
fn a_session_has_an_age() {
    let (mut host, mut client) = pair_with(settings(), MUCH);
    let mut waited_ms = 0;
    while waited_ms < SESSION_MS_MAX - GRACE_MS {
        quiet(&mut host, &mut client);
        host.wait(30_000);
        waited_ms += 30_000;
    }
    while client.hear(&mut host, 0) {}
    assert!(client.events.contains(&Event::Goaway { ms: GRACE_MS }));
    quiet(&mut host, &mut client);
    assert_eq!(client.over.as_deref(), Some("age"));
    host.run(Command::GoAway { ms: 1 });
    assert_eq!(client.closed, [crate::voice::limits::close::ENDED]);
}

#[test]
fn a_tenant_may_end_it() {
    let (mut host, mut client) = pair_with(settings(), MUCH);
    quiet(&mut host, &mut client);
    host.run(Command::End { tenant: me() });
    quiet(&mut host, &mut client);
    assert_eq!(client.over.as_deref(), Some("ended"));
    assert_eq!(host.tenant.holds.len(), host.tenant.settled.len());
}

#[test]
fn no_command_looks_at_every_row() {
    let (mut host, _client) = pair_with(settings(), MUCH);
    for query in [
        "SELECT MIN(deadline_ms) FROM provider_calls WHERE state IN ('running', 'cancelling')",
        "SELECT MIN(again_at_ms) FROM holds WHERE again_at_ms IS NOT NULL AND (again_at_ms > 1 OR state <> 'granted')",
        "SELECT MIN(to_ms) FROM holds WHERE turn IS NULL AND ended_ms IS NULL AND state IN ('asked', 'granted')",
        "SELECT * FROM holds WHERE turn IS NULL AND ended_ms IS NULL AND state IN ('asked', 'granted') AND to_ms <= 1",
        "SELECT * FROM holds WHERE state IN ('asked', 'settling') AND again_at_ms <= 1",
        "SELECT * FROM holds WHERE state = 'granted' AND EXISTS (SELECT 1 FROM turns AS t WHERE t.n = turn)",
        "SELECT * FROM holds WHERE hold = 'x'",
        "SELECT t.n FROM turns AS t JOIN holds AS h ON h.turn = t.n
           WHERE t.state NOT IN ('done', 'interrupted', 'failed') ORDER BY t.n",
        "SELECT COUNT(*) FROM turns WHERE state = 'committed' AND state NOT IN ('done', 'interrupted', 'failed')",
        "SELECT body FROM turns WHERE id = 'x'",
        "SELECT * FROM parts WHERE turn = 1 ORDER BY part",
        "DELETE FROM down WHERE seq <= 1",
    ] {
        let plan: Vec<String> =
            host.sql.every_row(&format!("EXPLAIN QUERY PLAN {query}"), &[], |row| row.get(3)).unwrap();
        let all = plan.iter().any(|step| step.starts_with("SCAN") && !step.contains("USING"));
        assert!(!all, "{query}: {plan:?}");
    }
}
