//! The owner is told when the balance is low, and billing is asked for more: once, until it recovers.

use super::*;

fn watched(webhook: Option<Webhook>) -> Settings {
    Settings {
        low_balance: Some(Micro(500)),
        top_up: Some(TopUp { below: Micro(300), amount: Micro(2_000) }),
        webhook,
        ..Settings::default()
    }
}

fn body(notice: &Notice) -> serde_json::Value {
    serde_json::from_str(notice.body.get()).unwrap()
}

#[test]
fn a_low_balance_is_told_once_until_it_recovers() {
    let mut shell = Shell::with_settings(1_000, watched(None));
    let mut charge = |id: &str, amount| {
        shell.admit(request(id, amount), NOW_MS).unwrap();
        shell.settle(id, amount, NOW_MS);
        shell.told()
    };
    assert_eq!(charge("a", 500), Vec::<String>::new(), "as much as the threshold is not below it");
    assert_eq!(charge("b", 1), ["balance.low"]);
    assert_eq!(charge("c", 199), ["balance.low"], "once");
    assert_eq!(charge("d", 1), ["balance.low", "top_up.requested"]);
    assert_eq!(charge("e", 99), ["balance.low", "top_up.requested"], "once");
    let notices = shell.notices();
    let told = body(&notices[0]);
    assert_eq!((&told["balance_micro"], &told["threshold_micro"]), (&499.into(), &500.into()));
    let asked = body(&notices[1]);
    assert_eq!((&asked["balance_micro"], &asked["amount_micro"]), (&299.into(), &2_000.into()));
    // One recovers and falls again, the other stays low.
    shell.run(delta(299), NOW_MS).unwrap();
    shell.run(delta(-299), NOW_MS).unwrap();
    assert_eq!(shell.told(), ["balance.low", "top_up.requested", "top_up.requested"]);
    shell.run(delta(2_000), NOW_MS).unwrap();
    shell.run(set(0), NOW_MS).unwrap();
    assert_eq!(shell.told()[3..], ["balance.low", "top_up.requested"]);
    let keys: std::collections::BTreeSet<_> = shell
        .notices()
        .iter()
        .filter_map(|n| body(n)["idempotency_key"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(keys.len(), 3, "each request has a key of its own");
}

#[test]
fn what_is_held_still_counts_as_owned() {
    let mut shell = Shell::with_settings(1_000, watched(None));
    shell.admit(request("h", 900), NOW_MS).unwrap();
    shell.release("h", NOW_MS);
    assert_eq!(shell.told(), Vec::<String>::new());
    shell.admit(request("i", 900), NOW_MS).unwrap();
    shell.run(progress("i", 600, 0, Usage::default()), NOW_MS).unwrap();
    assert_eq!(shell.told(), ["balance.low"], "a part that is charged is gone");
}

#[test]
fn a_balance_that_is_low_when_it_is_first_watched_is_told() {
    let mut shell = Shell::with_balance(100);
    shell.set_limits(watched(None), NOW_MS).unwrap();
    assert_eq!(shell.told(), ["balance.low", "top_up.requested"]);
}

#[test]
fn a_webhook_that_comes_later_hears_of_what_is_low() {
    let mut shell = Shell::with_settings(100, watched(None));
    assert_eq!(shell.told().len(), 2);
    shell.set_limits(watched(hook("s")), NOW_MS).unwrap();
    let states: Vec<_> = shell.notices().into_iter().map(|notice| notice.state).collect();
    assert_eq!(states, ["recorded", "recorded", "pending", "pending"]);
}

#[test]
fn credit_that_expires_lowers_the_balance() {
    let mut shell =
        Shell::with_settings(0, Settings { low_balance: Some(Micro(500)), ..Settings::default() });
    let terms = crate::credits::GrantTerms { expires_at_ms: Some(NOW_MS + 77), ..Default::default() };
    shell.run(adjust(Adjustment::Grant(Micro(900), terms), None), NOW_MS).unwrap();
    assert_eq!(shell.told().len(), 1, "it began with nothing");
    shell.ring(NOW_MS + 76);
    assert_eq!(shell.told().len(), 1);
    shell.ring(NOW_MS + 77);
    assert_eq!(shell.told().len(), 2);
}

#[test]
fn a_notice_for_a_webhook_is_delivered_at_once_and_its_outcome_noted() {
    let mut shell = Shell::with_settings(1_000, watched(hook("s")));
    shell.admit(request("h", 600), NOW_MS).unwrap();
    let outcome = shell.run(settle("h", 600), NOW_MS).unwrap();
    assert_eq!(wake(&outcome), Some(NOW_MS));
    let rung = shell.ring(NOW_MS);
    let [Effect::Deliver(delivery)] = &rung.effects[..] else { panic!("{rung:?}") };
    assert_eq!((delivery.url.as_str(), delivery.secret.as_str()), ("https://owner.example/hook", "s"));
    assert_eq!(rung.next_at_ms, Some(NOW_MS + crate::notices::LEASE_MS));
    let next = note_attempt(&mut shell.sql, delivery.seq, delivery.attempt, true, "200", NOW_MS + 3).unwrap();
    assert_eq!((shell.notices()[0].state.as_str(), next), ("delivered", due_at_ms(&mut shell.sql).unwrap()));
    for command in
        [progress("h", 0, 0, Usage::default()), Command::Release { hold: "h".to_owned() }, delta(1)]
    {
        let outcome = shell.run(command, NOW_MS).unwrap();
        assert_ne!(wake(&outcome), Some(NOW_MS), "nothing waits any more");
    }
}

#[test]
fn settings_that_do_not_touch_a_threshold_tell_nothing_twice() {
    let mut shell = Shell::with_settings(100, watched(hook("s")));
    shell.run(delta(-10), NOW_MS).unwrap();
    let other = Settings { fingerprint_window_ms: 9, ..watched(hook("s")) };
    shell.set_limits(other, NOW_MS).unwrap();
    assert_eq!(shell.told(), ["balance.low", "top_up.requested"], "else billing would top up twice");
    let higher = Settings { low_balance: Some(Micro(600)), ..watched(hook("s")) };
    shell.set_limits(higher.clone(), NOW_MS).unwrap();
    assert_eq!(shell.told()[2..], ["balance.low"], "another threshold");
    let top_up = Some(TopUp { below: Micro(300), amount: Micro(9_000) });
    shell.set_limits(Settings { top_up, ..higher }, NOW_MS).unwrap();
    assert_eq!(shell.told()[3..], ["top_up.requested"], "another amount");
}
