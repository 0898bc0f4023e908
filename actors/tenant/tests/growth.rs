//! A hold that grows is admitted by the budgets as one that is made, and its end counts what came of it.

use super::*;

const DAILY: &str = "credits-per-day";

fn a_day(micro: i64) -> Limits {
    Limits { credits_per_day: Some(Micro(micro)), ..Limits::default() }
}

/// A tenant with 1,000 micro-credits a day, 500 of them at once.
fn frugal() -> Shell {
    Shell::with_settings(1_000_000, Settings { limits: a_day(1_000), ..Settings::default() })
}

impl Shell {
    fn grow(&mut self, hold: &str, hold_total: i64) -> Result<(), Refusal> {
        self.run(progress(hold, 0, hold_total, Usage::default()), NOW_MS).map(|_| ())
    }

    fn left_today(&mut self, now_ms: i64) -> i64 {
        let budgets = self.limits(now_ms).budgets;
        budgets.iter().find(|budget| budget.policy == DAILY).unwrap().remaining
    }
}

#[test]
fn a_hold_grows_as_far_as_the_credits_of_a_day_allow() {
    let mut shell = frugal();
    shell.admit(request("h", 300), NOW_MS).unwrap();
    let never = shell.grow("h", 500_000);
    assert_eq!(never, Err(Refusal::ExceedsBudget { policy: DAILY.to_owned(), limit: 500 }));
    let refused = shell.grow("h", 501);
    assert!(
        matches!(&refused, Err(Refusal::RateLimited { policy, .. }) if policy == DAILY),
        "one more than the burst: {refused:?}"
    );
    assert_eq!((shell.left_today(NOW_MS), shell.available()), (200, 999_700), "a refusal counts nothing");
    shell.grow("h", 500).unwrap();
    assert_eq!(shell.left_today(NOW_MS), 0);
    shell.grow("h", 500).unwrap();
    shell.run(progress("h", 400, 0, Usage::default()), NOW_MS).unwrap();
    assert_eq!(shell.left_today(NOW_MS), 0, "what is asked again and what is charged of it count no more");
}

#[test]
fn the_budget_of_the_key_is_asked_too() {
    let keys = [("k".to_owned(), a_day(1_000))].into();
    let mut shell = Shell::with_settings(1_000_000, Settings { keys, ..Settings::default() });
    shell.admit(of_key("k", request("h", 300)), NOW_MS).unwrap();
    shell.admit(request("i", 300), NOW_MS).unwrap();
    let refused = shell.grow("h", 501);
    assert!(matches!(&refused, Err(Refusal::RateLimited { policy, .. }) if policy == "credits-per-day@k"));
    shell.grow("h", 500).unwrap();
    shell.grow("i", 9_000).unwrap();
}

#[test]
fn the_end_gives_back_what_a_hold_grew_by_and_did_not_use() {
    for (charge, left) in [(0, 500), (100, 400), (450, 50), (600, 0)] {
        let mut shell = frugal();
        shell.admit(request("h", 100), NOW_MS).unwrap();
        shell.grow("h", 500).unwrap();
        shell.settle("h", charge, NOW_MS);
        assert_eq!(shell.left_today(NOW_MS), left, "{charge} were charged");
    }
    let mut shell = frugal();
    shell.admit(request("h", 100), NOW_MS).unwrap();
    shell.grow("h", 500).unwrap();
    shell.release("h", NOW_MS);
    assert_eq!(shell.left_today(NOW_MS), 500);
}

#[test]
fn a_hold_that_expires_counts_what_it_was_charged_and_no_less_than_its_estimate() {
    for (estimated, charged, left) in [(10, 400, 100), (300, 200, 200)] {
        let mut shell = frugal();
        let mut asked = request("h", 400);
        asked.owner.weight.micro = Micro(estimated);
        shell.admit(asked, NOW_MS).unwrap();
        shell.run(progress("h", charged, 0, Usage::default()), NOW_MS).unwrap();
        shell.ring(NOW_MS + TTL_MS);
        assert_eq!(shell.left_today(NOW_MS + TTL_MS), left, "{charged} were charged");
    }
}
