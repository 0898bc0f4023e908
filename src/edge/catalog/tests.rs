use actors::catalog::{StoredPrices, StoredSkill, VersionNote};
use actors::shared::ModelPrice;

use super::*;

const NOW_MS: i64 = 1_000_000;
const TTL_MS: i64 = 10_000;

fn table(micro: i64) -> PriceTable {
    PriceTable { default: ModelPrice::flat(micro), models: Default::default() }
}

fn configured() -> ConfiguredPrices {
    ConfiguredPrices::new(table(50))
}

fn note(version: i64) -> VersionNote {
    VersionNote { version, at_ms: 0, changed_by: String::new(), reason: String::new(), is_gone: false }
}

fn with_prices(version: i64, micro: i64) -> Known {
    let prices = Some(StoredPrices { note: note(version), prices: table(micro) });
    Known::new(Snapshot { revision: version, prices, skills: Vec::new() }, &configured())
}

fn version_of(next: Next) -> i64 {
    match next {
        Next::Use(known) | Next::Refresh(known) => known.price_version.number(),
        other => panic!("{other:?}"),
    }
}

/// A copy that was read at `NOW_MS` and found version 1.
fn read_once() -> Copy {
    let mut copy = Copy::default();
    let read = copy.begin_read();
    copy.land(read, None, Some((1, with_prices(1, 1))), NOW_MS);
    copy
}

#[test]
fn the_first_waits_and_later_ones_are_served_while_one_reads_again() {
    let mut copy = Copy::default();
    assert_eq!(copy.next(TTL_MS, NOW_MS), Next::Wait);
    assert_eq!(copy.next(TTL_MS, NOW_MS), Next::Wait, "no two share a read");
    let mut copy = read_once();
    assert!(matches!(copy.next(TTL_MS, NOW_MS + TTL_MS - 1), Next::Use(_)));
    let old_ms = NOW_MS + TTL_MS;
    assert!(matches!(copy.next(TTL_MS, old_ms), Next::Refresh(_)));
    assert!(matches!(copy.next(TTL_MS, old_ms), Next::Use(_)), "one reads, the others do not");
    assert!(
        matches!(copy.next(TTL_MS, old_ms + READ_MS_MAX), Next::Refresh(_)),
        "of the first nothing was heard"
    );
    let read = copy.begin_read();
    copy.land(read, Some(1), Some((2, with_prices(2, 2))), old_ms);
    assert_eq!(version_of(copy.next(TTL_MS, old_ms + 1)), 2);
}

#[test]
fn what_is_still_current_is_as_good_as_new() {
    let mut copy = read_once();
    let read = copy.begin_read();
    copy.land(read, Some(1), None, NOW_MS + TTL_MS);
    assert!(matches!(copy.next(TTL_MS, NOW_MS + TTL_MS + 1), Next::Use(_)));
}

#[test]
fn what_a_later_read_found_is_not_replaced_by_an_earlier_one() {
    let mut copy = read_once();
    let (early, late) = (copy.begin_read(), copy.begin_read());
    copy.land(late, Some(1), Some((2, with_prices(2, 2))), NOW_MS);
    copy.land(early, Some(1), Some((1, with_prices(1, 1))), NOW_MS);
    assert_eq!(version_of(copy.next(TTL_MS, NOW_MS)), 2);
    // Nor does one that was told "nothing new" about something else make it young.
    let read = copy.begin_read();
    copy.land(read, Some(1), None, NOW_MS + TTL_MS);
    assert!(matches!(copy.next(TTL_MS, NOW_MS + TTL_MS), Next::Refresh(_)));
}

#[test]
fn who_changed_the_catalog_sees_it_at_once() {
    let mut copy = read_once();
    let under_way = copy.begin_read();
    copy.changed();
    assert_eq!(copy.next(TTL_MS, NOW_MS), Next::Wait);
    copy.land(under_way, Some(1), Some((1, with_prices(1, 1))), NOW_MS);
    assert_eq!(copy.next(TTL_MS, NOW_MS), Next::Wait, "it began before the change");
    let read = copy.begin_read();
    copy.land(read, Some(1), Some((2, with_prices(2, 2))), NOW_MS);
    assert_eq!(version_of(copy.next(TTL_MS, NOW_MS)), 2);
}

#[test]
fn a_catalog_that_does_not_answer_is_asked_once_in_a_while() {
    let mut copy = Copy { failed_at_ms: Some(NOW_MS), ..Copy::default() };
    assert_eq!(copy.next(TTL_MS, NOW_MS + READ_RETRY_MS - 1), Next::DoWithout);
    assert_eq!(copy.next(TTL_MS, NOW_MS + READ_RETRY_MS), Next::Wait);
    let mut copy = read_once();
    copy.failed_at_ms = Some(NOW_MS + TTL_MS);
    assert!(matches!(copy.next(TTL_MS, NOW_MS + TTL_MS), Next::Use(_)), "the old copy serves");
    assert!(matches!(copy.next(TTL_MS, NOW_MS + TTL_MS + READ_RETRY_MS), Next::Refresh(_)));
}

#[test]
fn what_is_stored_counts_and_the_configuration_until_then() {
    let nothing = Known::configured(&configured());
    assert_eq!((nothing.price_version.number(), nothing.prices.default), (0, ModelPrice::flat(50)));
    assert_eq!(nothing.price_version, configured().version);
    let stored = with_prices(3, 7);
    assert_eq!((stored.price_version.number(), stored.prices.default), (3, ModelPrice::flat(7)));
}

#[test]
fn a_name_means_its_skill_in_whatever_case_and_else_the_general_one() {
    let stored = |name: &str, version, enabled| StoredSkill {
        name: name.to_owned(),
        note: note(version),
        terms: Some(SkillTerms { enabled, ..SkillTerms::default() }),
    };
    let gone = StoredSkill { terms: None, ..stored("gone", 9, true) };
    let known = |skills| Known::new(Snapshot { revision: 1, prices: None, skills }, &configured());
    let some = known(vec![stored("sum", 2, true), stored("off", 1, false), gone.clone()]);
    for (name, expected) in
        [("sum", ("sum", 2)), ("SUM", ("sum", 2)), ("off", ("off", 1)), ("gone", ("general", 0))]
    {
        let skill = some.skill(name);
        assert_eq!((skill.name.as_str(), skill.version), expected, "{name}");
    }
    assert_eq!(some.skill("general").terms, SkillTerms::built_in());
    let names: Vec<&str> = some.enabled().iter().map(|skill| skill.name.as_str()).collect();
    assert_eq!(names, ["general", "sum"]);
    let general = known(vec![stored("general", 4, true)]);
    assert_eq!((general.skill("x").name.as_str(), general.skill("x").version), ("general", 4));
}
