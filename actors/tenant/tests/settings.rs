//! What an operator may set, and what becomes of it.

use super::*;
use crate::credits::caps::{CAPS_MAX, CapTerms};
use crate::shared::Period;

fn cap(id: &str) -> CapTerms {
    CapTerms {
        id: id.to_owned(),
        period: Period::Month,
        limit: Micro(100),
        soft: Some(Micro(100)),
        api_key: None,
        model: None,
    }
}

fn caps(caps: Vec<CapTerms>) -> Settings {
    Settings { caps, ..Settings::default() }
}

fn keys(count: usize) -> Settings {
    let keys = (0..count).map(|n| (format!("k{n}"), Limits::default())).collect();
    Settings { keys, ..Settings::default() }
}

fn named(bytes: usize) -> String {
    "n".repeat(bytes)
}

fn many(count: usize) -> Settings {
    caps((0..count).map(|n| cap(&n.to_string())).collect())
}

fn top_up(below: i64, amount: i64) -> Settings {
    Settings { top_up: Some(TopUp { below: Micro(below), amount: Micro(amount) }), ..Settings::default() }
}

fn url(bytes: usize, secret: &str) -> Settings {
    Settings {
        webhook: Some(Webhook { url: named(bytes), secret: secret.to_owned() }),
        ..Settings::default()
    }
}

#[test]
fn settings_within_their_bounds_are_taken() {
    let of = |key: usize, model: usize| {
        caps(vec![CapTerms { api_key: Some(named(key)), model: Some(named(model)), ..cap("a") }])
    };
    for settings in [
        Settings::default(),
        Settings { plan: Some("large".to_owned()), ..Settings::default() },
        keys(KEY_LIMITS_MAX),
        many(CAPS_MAX),
        of(NAME_BYTES_MAX, NAME_BYTES_MAX),
        caps(vec![cap(&named(NAME_BYTES_MAX))]),
        caps(vec![CapTerms { soft: None, limit: Micro::ZERO, ..cap("a") }]),
        caps(vec![CapTerms { soft: Some(Micro(1)), ..cap("a") }]),
        Settings { fingerprint_window_ms: FINGERPRINT_WINDOW_MS_MAX, ..Settings::default() },
        Settings { low_balance: Some(Micro::ZERO), ..Settings::default() },
        top_up(1, 1),
        url(WEBHOOK_URL_BYTES_MAX, &named(NAME_BYTES_MAX)),
    ] {
        assert_eq!(settings.check(), Ok(()), "{settings:?}");
        let report = Shell::with_balance(0).set_limits(settings.clone(), NOW_MS).unwrap();
        assert_eq!(report.settings, settings);
    }
}

#[test]
fn settings_out_of_their_bounds_are_refused_by_name() {
    let with_key = |key: String, limits| Settings { keys: [(key, limits)].into(), ..Settings::default() };
    let absurd = || Limits { requests_per_minute: Some(-1), ..Limits::default() };
    for (settings, field) in [
        (Settings { limits: absurd(), ..Settings::default() }, "requests_per_minute"),
        (with_key("k".to_owned(), absurd()), "requests_per_minute"),
        (with_key(String::new(), Limits::default()), "keys"),
        (with_key(named(NAME_BYTES_MAX + 1), Limits::default()), "keys"),
        (keys(KEY_LIMITS_MAX + 1), "keys"),
        (Settings { plan: Some(String::new()), ..Settings::default() }, "plan"),
        (Settings { plan: Some("unheard of".to_owned()), ..Settings::default() }, "plan"),
        (many(CAPS_MAX + 1), "caps"),
        (caps(vec![cap("")]), "caps"),
        (caps(vec![cap(&named(NAME_BYTES_MAX + 1))]), "caps"),
        (caps(vec![CapTerms { api_key: Some(String::new()), ..cap("a") }]), "caps"),
        (caps(vec![CapTerms { model: Some(named(NAME_BYTES_MAX + 1)), ..cap("a") }]), "caps"),
        (caps(vec![cap("a"), cap("b"), cap("a")]), "caps"),
        (caps(vec![CapTerms { limit: Micro(-1), soft: None, ..cap("a") }]), "caps"),
        (caps(vec![CapTerms { soft: Some(Micro(101)), ..cap("a") }]), "caps"),
        (caps(vec![CapTerms { soft: Some(Micro::ZERO), ..cap("a") }]), "caps"),
        (Settings { fingerprint_window_ms: -1, ..Settings::default() }, "fingerprint_window_ms"),
        (
            Settings { fingerprint_window_ms: FINGERPRINT_WINDOW_MS_MAX + 1, ..Settings::default() },
            "fingerprint_window_ms",
        ),
        (Settings { low_balance: Some(Micro(-1)), ..Settings::default() }, "low_balance"),
        (top_up(0, 5), "top_up"),
        (top_up(5, 0), "top_up"),
        (url(WEBHOOK_URL_BYTES_MAX + 1, "s"), "webhook"),
        (url(9, &named(NAME_BYTES_MAX + 1)), "webhook"),
    ] {
        let mut shell = Shell::with_balance(0);
        let refused = shell.set_limits(settings, NOW_MS);
        assert!(
            matches!(&refused, Err(Refusal::InvalidSetting { field: by, .. }) if by == field),
            "{field}: {refused:?}"
        );
        assert_eq!(shell.limits(NOW_MS).settings, Settings::default());
    }
    assert!(url(9, "").check().is_err(), "a webhook is kept with a secret");
}

#[test]
fn a_webhook_keeps_its_secret_or_gets_a_fresh_one() {
    let mut shell = Shell::with_balance(0);
    let mut set = |url: &str, secret: &str| {
        let webhook = Some(Webhook { url: url.to_owned(), secret: secret.to_owned() });
        shell
            .set_limits(Settings { webhook, ..Settings::default() }, NOW_MS)
            .unwrap()
            .settings
            .webhook
            .unwrap()
            .secret
    };
    assert_eq!(set("https://a.example", ""), "whsec_fresh");
    assert_eq!(set("https://a.example", "own"), "own");
    assert_eq!(set("https://a.example", ""), "own", "kept");
    assert_eq!(set("https://b.example", ""), "whsec_fresh", "another address");
}

#[test]
fn the_report_says_what_holds_and_what_is_left() {
    let over = Limits { requests_per_minute: Some(8), ..Limits::default() };
    let mut shell = Shell::with_settings(10_000, Settings { limits: over, ..Settings::default() });
    shell.admit(request("h", 10), NOW_MS).unwrap();
    let report = shell.limits(NOW_MS);
    let budget = &report.budgets[0];
    assert_eq!((budget.limit, budget.remaining, budget.window_ms), (8, 1, 60_000));
    assert_eq!(budget.reset_ms, 8_572, "one of seven that come back in a minute");
    assert_eq!(
        (report.effective.requests_per_minute, report.settings.limits.requests_per_minute),
        (Some(8), Some(8))
    );
    assert_eq!(shell.limits(NOW_MS + 8_572).budgets[0].remaining, 2);
}

/// A newer version wrote them, and was rolled back: what it added is not understood, and stops nobody.
#[test]
fn stored_settings_may_have_fields_of_a_newer_version() {
    let settings = Settings {
        keys: [("k".to_owned(), Limits::default())].into(),
        webhook: hook("s"),
        caps: vec![cap("a")],
        ..top_up(5, 7)
    };
    let mut shell = Shell::with_settings(1_000, settings.clone());
    for place in ["new", "limits.new", "keys.k.new", "top_up.new", "caps[0].new", "webhook.new"] {
        shell.tamper(&format!("UPDATE limits SET settings = json_set(settings, '$.{place}', json('[1]'))"));
    }
    shell.tamper("UPDATE limits SET counters = json_set(counters, '$.caps[0].new', 1, '$.new', 1)");
    assert_eq!(shell.limits(NOW_MS).settings, settings);
    shell.admit(request("h", 10), NOW_MS).unwrap();
}

#[test]
fn a_row_that_cannot_be_read_is_no_broken_invariant() {
    for (table, column) in [("limits", "settings"), ("limits", "counters"), ("account", "grants")] {
        let mut shell = Shell::with_balance(1_000);
        shell.tamper(&format!("UPDATE {table} SET {column} = '\"of another kind\"'"));
        let refused = shell.admit(request("h", 10), NOW_MS);
        assert!(matches!(refused, Err(Refusal::Storage { .. })), "{column}: {refused:?}");
    }
}

/// Budgets that are set may not have counted what was estimated before: they give nothing of it back.
#[test]
fn a_hold_of_the_moment_of_new_settings_gives_nothing_back_and_a_later_one_does() {
    for (at_ms, left) in [(NOW_MS, 40), (NOW_MS + 1, 90)] {
        let limits = Limits { tokens_per_minute: Some(100), tokens_burst: Some(100), ..Limits::default() };
        let mut shell = Shell::with_balance(1_000);
        shell.set_limits(Settings { limits, ..Settings::default() }, NOW_MS).unwrap();
        let mut asked = request("h", 10);
        asked.owner.weight.tokens = 60;
        shell.admit(asked, at_ms).unwrap();
        let usage = Usage { tokens_in: Some(10), ..Usage::default() };
        shell.run(settle_with("h", 1, usage), at_ms).unwrap();
        let budgets = shell.limits(at_ms).budgets;
        let tokens = budgets.iter().find(|budget| budget.policy == "tokens").unwrap();
        assert_eq!(tokens.remaining, left, "made at {at_ms}");
    }
}

#[test]
fn settings_that_were_read_before_are_those_that_are_stored() {
    let mut shell = Shell::with_balance(1_000);
    let plain = shell.limits(NOW_MS).settings;
    let set = Settings { low_balance: Some(Micro(5)), ..Settings::default() };
    assert_eq!(shell.set_limits(set.clone(), NOW_MS).unwrap().settings, set);
    assert_eq!(shell.limits(NOW_MS).settings, set);
    // Another one that has the same actor in memory changes them.
    let mut other = reopen(&mut shell.sql).unwrap().unwrap();
    std::mem::swap(&mut shell.actor, &mut other);
    shell.set_limits(plain.clone(), NOW_MS).unwrap();
    std::mem::swap(&mut shell.actor, &mut other);
    assert_eq!(shell.limits(NOW_MS).settings, plain);
    for wrong in ["{", ""] {
        shell.tamper(&format!("UPDATE limits SET settings = '{wrong}'"));
        let mut woken = reopen(&mut shell.sql).unwrap().unwrap();
        std::mem::swap(&mut shell.actor, &mut woken);
        assert!(matches!(shell.run(Command::Limits, NOW_MS), Err(Refusal::Storage { .. })), "{wrong:?}");
    }
    shell.tamper("DELETE FROM limits");
    assert!(matches!(shell.run(Command::Limits, NOW_MS), Err(Refusal::Broken { .. })));
}
