//! Spending caps: what they count, when they refuse, when they tell.

use super::*;
use crate::credits::caps::{self, Cap, CapTerms, Told};
use crate::shared::{DAY_MS, Period};

/// Noon of 1970-02-10.
const NOON_MS: i64 = 40 * DAY_MS + DAY_MS / 2;

/// What a cap counts: everything, or what one key asks or one model answers.
#[derive(Default)]
pub(super) struct Scope {
    key: Option<&'static str>,
    model: Option<&'static str>,
}

pub(super) const ALL: Scope = Scope { key: None, model: None };

pub(super) const fn of(key: &'static str) -> Scope {
    Scope { key: Some(key), model: None }
}

const fn by(model: &'static str) -> Scope {
    Scope { key: None, model: Some(model) }
}

fn terms(scope: &Scope, limit: i64) -> CapTerms {
    CapTerms {
        id: format!("{}/{}", scope.key.unwrap_or_default(), scope.model.unwrap_or_default()),
        period: Period::Day,
        limit: Micro(limit),
        soft: None,
        api_key: scope.key.map(str::to_owned),
        model: scope.model.map(str::to_owned),
    }
}

pub(super) fn cap(scope: Scope, limit: i64, spent: i64, held: i64) -> Cap {
    Cap::new(terms(&scope, limit), Micro(spent), Micro(held), NOON_MS)
}

fn models(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn admit(caps: &mut [Cap], amount: i64, key: Option<&str>, names: &[&str]) -> Result<Vec<String>, Refusal> {
    caps::admit(caps, Micro(amount), key, &models(names), NOON_MS)
}

fn held(caps: &[Cap]) -> Vec<i64> {
    caps.iter().map(|cap| cap.held.0).collect()
}

/// The end of a hold of `unheld` with a charge.
fn change(key: Option<&str>, names: &[&str], unheld: i64, charged: i64) -> HoldChange {
    HoldChange {
        id: "h".to_owned(),
        owner: Owner { api_key: key.map(str::to_owned), models: models(names), ..Owner::default() },
        created_at_ms: NOON_MS,
        unheld: Micro(unheld),
        charged: Micro(charged),
        charged_total: Micro(charged),
        tokens: 0,
        end: Some(HoldEnd::Settled),
    }
}

fn apply(caps: &mut [Cap], change: &HoldChange, model: Option<&str>, now_ms: i64) -> Vec<Told> {
    let told = caps::apply(caps, change, model, now_ms).unwrap();
    told.into_iter().map(|told| told.told).collect()
}

#[test]
fn a_cap_covers_what_was_spent_and_what_is_held_and_no_more() {
    let mut caps = [cap(ALL, 1_000, 300, 200)];
    let refused = admit(&mut caps, 501, None, &[]);
    let expected = Refusal::CapReached {
        cap: "/".to_owned(),
        period: Period::Day,
        limit: Micro(1_000),
        retry_after_ms: 1_000,
    };
    assert_eq!((refused, held(&caps)), (Err(expected), vec![200]), "what is held comes back soon");
    let Err(Refusal::CapReached { retry_after_ms, .. }) = admit(&mut caps, 701, None, &[]) else {
        panic!("more than is left of what was spent");
    };
    assert_eq!(retry_after_ms, DAY_MS / 2);
    assert_eq!(admit(&mut caps, 500, None, &["small"]), Ok(models(&["small"])));
    assert_eq!(held(&caps), [700]);
    assert!(admit(&mut caps, 1, None, &[]).is_err(), "requests at one time do not pass it");
    assert_eq!(admit(&mut caps, 0, None, &[]), Ok(Vec::new()));
}

#[test]
fn what_a_cap_could_never_cover_is_told_apart() {
    let mut caps = [cap(ALL, 1_000, 0, 0)];
    let never = Refusal::ExceedsBudget { policy: "cap:/".to_owned(), limit: 1_000 };
    assert_eq!(admit(&mut caps, 1_001, None, &[]), Err(never));
    assert_eq!(admit(&mut caps, 1_000, None, &[]), Ok(Vec::new()));
    let full = admit(&mut caps, 1_000, None, &[]);
    assert!(matches!(full, Err(Refusal::CapReached { .. })), "as much as the limit fits on another day");
}

#[test]
fn a_cap_of_a_key_counts_that_key_only() {
    let mut caps = [cap(of("k"), 1_000, 0, 0), cap(ALL, 9_000, 0, 0)];
    admit(&mut caps, 800, Some("other"), &[]).unwrap();
    admit(&mut caps, 800, None, &[]).unwrap();
    assert_eq!(held(&caps), [0, 1_600]);
    admit(&mut caps, 800, Some("k"), &[]).unwrap();
    assert_eq!(held(&caps), [800, 2_400]);
    assert!(
        matches!(admit(&mut caps, 300, Some("k"), &[]), Err(Refusal::CapReached { cap, .. }) if cap == "k/")
    );
    assert_eq!(held(&caps), [800, 2_400], "all caps count it, or none");
    apply(&mut caps, &change(Some("k"), &[], 800, 500), None, NOON_MS);
    apply(&mut caps, &change(Some("other"), &[], 800, 70), None, NOON_MS);
    let spent: Vec<_> = caps.iter().map(|cap| (cap.spent.0, cap.held.0)).collect();
    assert_eq!(spent, [(500, 0), (570, 800)]);
}

#[test]
fn models_whose_cap_is_full_are_left_out_until_none_is_left() {
    let mut caps = [cap(by("small"), 1_000, 900, 0), cap(by("large"), 1_000, 500, 0)];
    assert_eq!(
        admit(&mut caps, 100, None, &["small", "large", "free"]),
        Ok(models(&["small", "large", "free"]))
    );
    assert_eq!(held(&caps), [100, 100], "it may be either");
    assert_eq!(admit(&mut caps, 100, None, &["small", "large", "free"]), Ok(models(&["large", "free"])));
    assert_eq!(held(&caps), [100, 200], "one that was left out holds nothing");
    assert_eq!(admit(&mut caps, 400, None, &["small", "large", "free"]), Ok(models(&["free"])));
    assert_eq!(held(&caps), [100, 200]);
    let refused = admit(&mut caps, 400, None, &["small", "large"]);
    assert!(
        matches!(refused, Err(Refusal::CapReached { cap, .. }) if cap == "/large"),
        "the one that may answer first: only what is held is in its way"
    );
    let turned = admit(&mut caps, 400, None, &["large", "small"]);
    assert!(matches!(turned, Err(Refusal::CapReached { cap, .. }) if cap == "/large"), "in whatever order");
    let never = admit(&mut caps, 1_001, None, &["large"]);
    assert_eq!(never, Err(Refusal::ExceedsBudget { policy: "cap:/large".to_owned(), limit: 1_000 }));
    assert_eq!(admit(&mut caps, 5_000, None, &[]), Ok(Vec::new()), "nothing says which model answers");
}

#[test]
fn of_caps_that_wait_as_long_the_first_is_told() {
    let told = |refused: Result<Vec<String>, Refusal>| match refused {
        Err(Refusal::CapReached { cap, .. }) => cap,
        other => panic!("{other:?}"),
    };
    let mut caps = [cap(by("small"), 1_000, 1_000, 0), cap(by("large"), 1_000, 1_000, 0)];
    assert_eq!(
        told(admit(&mut caps, 1, None, &["large", "small"])),
        "/large",
        "the model that was asked first"
    );
    let mut caps = [cap(of("k"), 1_000, 1_000, 0), cap(ALL, 1_000, 1_000, 0)];
    assert_eq!(told(admit(&mut caps, 1, Some("k"), &[])), "k/", "the cap that was set first");
}

#[test]
fn a_cap_of_a_model_counts_holds_it_may_answer_and_charges_it_answered() {
    let mut caps = [cap(by("small"), 9_000, 0, 0), cap(by("large"), 9_000, 0, 0), cap(ALL, 9_000, 0, 0)];
    admit(&mut caps, 1_000, None, &["small", "large"]).unwrap();
    apply(&mut caps, &change(None, &["small", "large"], 1_000, 700), Some("large"), NOON_MS);
    let counted: Vec<_> = caps.iter().map(|cap| (cap.spent.0, cap.held.0)).collect();
    assert_eq!(counted, [(0, 0), (700, 0), (700, 0)]);
    // A charge that names no model counts for none.
    admit(&mut caps, 1_000, None, &["small"]).unwrap();
    apply(&mut caps, &change(None, &["small"], 1_000, 50), None, NOON_MS);
    assert_eq!(caps.iter().map(|cap| cap.spent.0).collect::<Vec<_>>(), [0, 700, 750]);
}

#[test]
fn a_cap_of_a_key_and_a_model_counts_where_both_are_so() {
    let both = Scope { key: Some("k"), model: Some("small") };
    let mut caps = [cap(both, 1_000, 1_000, 0)];
    assert_eq!(admit(&mut caps, 10, Some("k"), &["small", "large"]), Ok(models(&["large"])));
    assert_eq!(admit(&mut caps, 10, Some("other"), &["small"]), Ok(models(&["small"])));
    assert_eq!(admit(&mut caps, 10, None, &["small"]), Ok(models(&["small"])));
    assert_eq!(held(&caps), [0]);
}

#[test]
fn soft_limit_and_limit_are_told_once_in_a_period() {
    let mut caps = [cap(ALL, 1_000, 0, 0)];
    caps[0].terms.soft = Some(Micro(600));
    let mut spend = |charged, now_ms| apply(&mut caps, &change(None, &[], 0, charged), None, now_ms);
    assert_eq!(spend(599, NOON_MS), []);
    assert_eq!(spend(1, NOON_MS), [Told::Soft]);
    assert_eq!(spend(399, NOON_MS), [], "once");
    assert_eq!(spend(1, NOON_MS), [Told::Limit]);
    assert_eq!(spend(500, NOON_MS), [], "once");
    assert_eq!(spend(600, NOON_MS + DAY_MS), [Told::Soft], "a new day");
    assert_eq!(spend(0, NOON_MS), [], "the clock stepped back");
    assert_eq!(spend(1_000, NOON_MS + 2 * DAY_MS), [Told::Limit], "the last word says it all");
    let told =
        caps::apply(&mut caps, &change(None, &[], 0, 1_000), None, NOON_MS + 3 * DAY_MS).unwrap().remove(0);
    assert_eq!((told.cap.spent, told.cap.told), (Micro(1_000), Told::Limit));
    assert_eq!(told.cap.period_start_ms, 43 * DAY_MS);
}

#[test]
fn a_new_period_begins_with_what_is_held_and_a_clock_that_steps_back_stays_in_its_own() {
    let mut caps = [cap(ALL, 1_000, 700, 300)];
    caps[0].told = Told::Limit;
    let retry_ms = |refused: Result<Vec<String>, Refusal>| match refused {
        Err(Refusal::CapReached { retry_after_ms, .. }) => retry_after_ms,
        other => panic!("{other:?}"),
    };
    let at = |caps: &mut [Cap], amount, now_ms| caps::admit(caps, Micro(amount), None, &[], now_ms);
    let midnight_ms = 41 * DAY_MS;
    assert_eq!(retry_ms(at(&mut caps, 1, midnight_ms - 1)), 1);
    assert_eq!(retry_ms(at(&mut caps, 701, midnight_ms)), 1_000, "what is held counts in the new day too");
    assert_eq!(at(&mut caps, 700, midnight_ms), Ok(Vec::new()));
    assert_eq!((caps[0].spent, caps[0].held, caps[0].told), (Micro::ZERO, Micro(1_000), Told::Nothing));
    assert_eq!(caps[0].period_start_ms, midnight_ms);
    (caps[0].spent, caps[0].held) = (Micro(1_000), Micro::ZERO);
    // Back in the day before: still the later period, until it ends by the caller's clock.
    assert_eq!(retry_ms(at(&mut caps, 1, midnight_ms - DAY_MS)), 2 * DAY_MS);
    assert_eq!(caps[0].period_start_ms, midnight_ms);
}

#[test]
fn months_are_as_long_as_they_are() {
    let month = CapTerms { period: Period::Month, ..terms(&ALL, 1_000) };
    let mut caps = [Cap::new(month, Micro(1_000), Micro::ZERO, NOON_MS)];
    assert_eq!(caps[0].period_start_ms, 31 * DAY_MS, "the first of February");
    let Err(Refusal::CapReached { period, retry_after_ms, .. }) = admit(&mut caps, 1, None, &[]) else {
        panic!("the cap is full");
    };
    assert_eq!((period, retry_after_ms), (Period::Month, 59 * DAY_MS - NOON_MS));
    assert!(caps::admit(&mut caps, Micro(1), None, &[], 59 * DAY_MS - 1).is_err());
    assert!(caps::admit(&mut caps, Micro(1), None, &[], 59 * DAY_MS).is_ok());
}

#[test]
fn more_given_back_than_was_counted_is_broken() {
    let mut caps = [cap(ALL, 1_000, 0, 300)];
    assert!(matches!(
        caps::apply(&mut caps, &change(None, &[], 301, 0), None, NOON_MS),
        Err(Refusal::Broken { .. })
    ));
}

#[test]
fn what_a_hold_sets_aside_later_is_counted() {
    let mut caps = [cap(ALL, 1_000, 0, 300)];
    apply(&mut caps, &change(None, &[], -200, 0), None, NOON_MS);
    assert_eq!(held(&caps), [500]);
    assert_eq!(apply(&mut caps, &change(None, &[], 500, 0), None, NOON_MS), []);
    assert_eq!(held(&caps), [0]);
}
