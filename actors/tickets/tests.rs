use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::sqlite::Sqlite;

const NOW_MS: i64 = 1_700_000_000_000;
const PAGE: &str = "https://app.cognomega.com";

fn opened() -> Sqlite {
    let mut sql = Sqlite::in_memory().unwrap();
    sql.execute(SCHEMA, &[]).unwrap();
    sql
}

fn digest(secret: &str) -> String {
    format!("{:x}", Sha256::digest(secret))
}

fn new(secret: &str) -> NewTicket {
    NewTicket {
        digest: digest(secret),
        purpose: Purpose::Events,
        origin: Some(PAGE.to_owned()),
        credential_ends_at_ms: None,
    }
}

fn shown(secret: &str) -> Presented {
    Presented { digest: digest(secret), purpose: Purpose::Events, origin: Some(PAGE.to_owned()) }
}

/// As the shell does it: a refusal undoes everything.
fn redeemed(sql: &mut Sqlite, shown: &Presented, now_ms: i64) -> Result<Redeemed, Refusal> {
    sql.transaction(|sql| redeem(sql, shown, now_ms))
}

#[test]
fn a_ticket_opens_once() {
    let mut sql = opened();
    let made = NewTicket { credential_ends_at_ms: Some(NOW_MS + 99_000), ..new("a") };
    assert_eq!(mint(&mut sql, &made, Some("key-1"), NOW_MS), Ok(NOW_MS + TICKET_TTL_MS));
    let behalf = Redeemed { api_key: Some("key-1".to_owned()), credential_ends_at_ms: Some(NOW_MS + 99_000) };
    assert_eq!(redeemed(&mut sql, &shown("a"), NOW_MS), Ok(behalf));
    assert_eq!(redeemed(&mut sql, &shown("a"), NOW_MS), Err(Refusal::UnknownTicket));
    assert_eq!(redeemed(&mut sql, &shown("never made"), NOW_MS), Err(Refusal::UnknownTicket));
}

#[test]
fn it_opens_until_its_time_and_not_at_it() {
    for (ends_at_ms, expires_at_ms) in [
        (None, NOW_MS + TICKET_TTL_MS),
        (Some(NOW_MS + 7), NOW_MS + 7),
        (Some(i64::MAX), NOW_MS + TICKET_TTL_MS),
    ] {
        let mut sql = opened();
        let made = NewTicket { credential_ends_at_ms: ends_at_ms, ..new("a") };
        assert_eq!(mint(&mut sql, &made, None, NOW_MS), Ok(expires_at_ms));
        assert_eq!(redeemed(&mut sql, &shown("a"), expires_at_ms), Err(Refusal::UnknownTicket));
        assert!(redeemed(&mut sql, &shown("a"), expires_at_ms - 1).is_ok(), "a late one took nothing away");
    }
}

#[test]
fn from_elsewhere_it_opens_nothing_and_stays() {
    let mut sql = opened();
    mint(&mut sql, &new("a"), None, NOW_MS).unwrap();
    let server = NewTicket { origin: None, ..new("b") };
    mint(&mut sql, &server, None, NOW_MS).unwrap();
    for (secret, origin) in
        [("a", None), ("a", Some("https://evil.io")), ("a", Some("")), ("b", Some(PAGE)), ("b", Some("null"))]
    {
        let elsewhere = Presented { origin: origin.map(str::to_owned), ..shown(secret) };
        assert_eq!(
            redeemed(&mut sql, &elsewhere, NOW_MS),
            Err(Refusal::UnknownTicket),
            "{secret} {origin:?}"
        );
    }
    // Of another purpose, as a later version may have made it.
    sql.execute("UPDATE tickets SET purpose = '{\"voice\":{}}' WHERE origin IS NULL", &[]).unwrap();
    let server = Presented { origin: None, ..shown("b") };
    assert_eq!(redeemed(&mut sql, &server, NOW_MS), Err(Refusal::UnknownTicket));
    assert!(redeemed(&mut sql, &shown("a"), NOW_MS).is_ok());
}

#[test]
fn nothing_but_digests_is_stored() {
    let mut sql = opened();
    mint(&mut sql, &new("the-secret-itself"), None, NOW_MS).unwrap();
    let dump =
        "SELECT json_group_array(json_array(digest, purpose, origin, api_key, expires_at_ms)) FROM tickets";
    let dump = sql.text(dump, &[]).unwrap().unwrap();
    assert!(dump.contains(&digest("the-secret-itself")) && !dump.contains("the-secret-itself"), "{dump}");
    let plain = NewTicket { digest: "the-secret-itself".to_owned(), ..new("b") };
    assert!(mint(&mut sql, &plain, None, NOW_MS).is_err(), "what is no digest is not stored");
}

#[test]
fn tickets_are_bounded_and_those_that_are_over_make_room() {
    let mut sql = opened();
    for n in 0..TICKETS_MAX {
        mint(&mut sql, &new(&n.to_string()), None, NOW_MS + i64::from(n)).unwrap();
    }
    let late_ms = NOW_MS + 1_000;
    let retry_after_ms = TICKET_TTL_MS - 1_000;
    let full = Err(Refusal::TooManyTickets { limit: TICKETS_MAX, retry_after_ms });
    assert_eq!(mint(&mut sql, &new("more"), None, late_ms), full);
    assert!(mint(&mut sql, &new("more"), None, late_ms + retry_after_ms).is_ok(), "so long is enough");
    assert_eq!(row(&mut sql, FORGOTTEN_AT_MS, &[]), Ok(Some(NOW_MS + TICKET_TTL_MS + 1)));
    forget_expired(&mut sql, NOW_MS + 10 * TICKET_TTL_MS).unwrap();
    assert_eq!(row::<i64>(&mut sql, FORGOTTEN_AT_MS, &[]), Ok(None));
}

#[test]
fn a_long_origin_is_not_stored() {
    let mut sql = opened();
    let long = NewTicket { origin: Some("x".repeat(ORIGIN_BYTES_MAX + 1)), ..new("a") };
    assert!(matches!(mint(&mut sql, &long, None, NOW_MS), Err(Refusal::InvalidSetting { .. })));
}

#[derive(Debug, Clone)]
enum Step {
    Mint(u8),
    Redeem(u8, Option<&'static str>),
    Wait(i64),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let from = prop_oneof![Just(Some(PAGE)), Just(None), Just(Some("https://evil.io"))];
    prop_oneof![
        3 => (0_u8..6).prop_map(Step::Mint),
        6 => ((0_u8..6), from).prop_map(|(n, from)| Step::Redeem(n, from)),
        2 => (0_i64..20_000).prop_map(Step::Wait),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    /// Whatever comes between: each opens once, from its page, within its time, and never otherwise.
    #[test]
    fn a_ticket_is_good_once_and_in_its_time_in_any_order(steps in prop::collection::vec(step(), 1..60)) {
        let (mut sql, mut now_ms) = (opened(), NOW_MS);
        // By secret: when it expires, while it is outstanding. A secret is made once.
        let mut model: std::collections::BTreeMap<u8, Option<i64>> = std::collections::BTreeMap::new();
        for step in steps {
            match step {
                Step::Mint(n) if !model.contains_key(&n) => {
                    let expires = sql.transaction(|sql| mint(sql, &new(&n.to_string()), None, now_ms)).unwrap();
                    prop_assert_eq!(expires, now_ms + TICKET_TTL_MS);
                    model.insert(n, Some(expires));
                }
                Step::Mint(_) => {}
                Step::Redeem(n, from) => {
                    let shown = Presented { origin: from.map(str::to_owned), ..shown(&n.to_string()) };
                    let good = from == Some(PAGE)
                        && model.get(&n).copied().flatten().is_some_and(|expires| now_ms < expires);
                    prop_assert_eq!(redeemed(&mut sql, &shown, now_ms).is_ok(), good);
                    if good {
                        model.insert(n, None);
                    }
                }
                Step::Wait(ms) => now_ms += ms,
                Step::Sweep => forget_expired(&mut sql, now_ms).unwrap(),
            }
        }
    }
}
