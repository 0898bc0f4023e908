//! Where a tenant stands, as answers that admit nothing say it.

use super::*;
use crate::tenant::{Standing, standing, standing_unopened, wants_standing};

fn of(shell: &mut Shell, now_ms: i64) -> Standing {
    let (sql, actor, policy) = (&mut shell.sql, &shell.actor, &shell.policy);
    standing(sql, actor, policy, None, now_ms).unwrap()
}

#[test]
fn it_says_what_an_admission_would_leave() {
    let limits = Limits {
        requests_per_minute: Some(10),
        requests_burst: Some(10),
        in_flight: Some(3),
        ..Limits::default()
    };
    let mut shell = Shell::with_settings(1_000, Settings { limits, ..Settings::default() });
    let admitted = shell.admit(request("a", 400), NOW_MS).unwrap();
    let stands = of(&mut shell, NOW_MS);
    assert_eq!(stands.budgets, admitted.budgets, "right after an admission they are the same");
    assert_eq!((stands.available, stands.granted), (Micro(600), Micro(1_000)));
    shell.settle("a", 100, NOW_MS);
    let stands = of(&mut shell, NOW_MS);
    assert_eq!(stands.available, Micro(900));
    assert_eq!(stands.budgets.last().unwrap().remaining, 3, "none is in flight");
}

#[test]
fn a_tenant_never_opened_stands_with_all_that_opening_would_bring() {
    let tenant = me();
    let opened = of(&mut Shell::opened(&tenant, NOW_MS), NOW_MS);
    assert_eq!(standing_unopened(&tenant, &policy(), NOW_MS), opened);
}

#[test]
fn only_metered_answers_that_do_not_say_so_want_it() {
    let short = Refusal::UnknownHold;
    assert!(wants_standing(true, &Err(short.clone())));
    assert!(!wants_standing(false, &Err(short)));
    assert!(!wants_standing(true, &Err(Refusal::Storage { detail: String::new() })));
    let mut shell = Shell::with_balance(1_000);
    let admitted = shell.run(admit("a", 100, None), NOW_MS).unwrap().reply;
    assert!(!wants_standing(true, &Ok(admitted)));
}

#[test]
fn what_budgets_count_is_what_is_metered() {
    assert!(admit("h", 1, None).is_metered() && Command::Count.is_metered());
    for command in [Command::Balance, set(1), settle("h", 1), Command::Release { hold: "h".to_owned() }] {
        assert!(!command.is_metered(), "{}", command.name());
    }
}
