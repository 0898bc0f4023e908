//! The feed of usage events.

use serde_json::value::RawValue;

use super::*;

#[test]
fn the_feed_is_walked_without_gap_or_duplicate() {
    let Ledger { mut sql } = Ledger::new(0);
    for n in 0..25_i64 {
        // Client times may repeat and go back.
        record_client(&mut sql, &format!("e{n}"), &Usage::default(), None, NOW_MS + n % 7).unwrap();
    }
    record_client(&mut sql, "e3", &Usage::default(), None, 5).unwrap();
    for limit in [1, 4, 25, 26] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let filter = UsageFilter { limit, cursor, since_ms: None };
            let page = list_usage(&mut sql, &me(), &filter).unwrap();
            seen.extend(page.items.into_iter().map(|event| (event.created_at_ms, event.seq)));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let mut sorted = seen.clone();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        sorted.dedup();
        assert_eq!((seen.len(), &seen), (25, &sorted));
    }
    let since = UsageFilter { limit: 100, cursor: None, since_ms: Some(NOW_MS + 5) };
    let times: Vec<_> =
        list_usage(&mut sql, &me(), &since).unwrap().items.iter().map(|e| e.created_at_ms).collect();
    assert_eq!((times.len(), times.iter().min()), (6, Some(&(NOW_MS + 5))));
    let forged = UsageFilter { limit: 5, cursor: Some("1-1-x".to_owned()), since_ms: None };
    assert_eq!(list_usage(&mut sql, &me(), &forged).map(|_| ()).unwrap_err(), Refusal::InvalidCursor);
}

fn full() -> Usage {
    Usage {
        route: Some("/api/si/ask".to_owned()),
        tokens_in: Some(3),
        tokens_out: Some(4),
        model: Some("small".to_owned()),
        meta: Some(RawValue::from_string(r#"{"basis":"provider"}"#.to_owned()).unwrap()),
    }
}

#[test]
fn an_event_says_what_was_used_and_what_it_cost() {
    let mut ledger = Ledger::new(10_000);
    let owner = Owner { api_key: Some("k".to_owned()), ..Owner::default() };
    ledger.admit_as("h", 1_000, &owner, NOW_MS).unwrap();
    ledger
        .run(NOW_MS + 7, |sql, account| settle(sql, account, "h", Micro(600), &full(), NOW_MS + 7))
        .unwrap();
    let event = ledger.usage().remove(0);
    assert_eq!(
        (event.id.as_str(), event.created_at_ms, event.cost_micro),
        ("h", NOW_MS + 7, Some(Micro(600)))
    );
    assert_eq!((event.tokens_in, event.tokens_out), (Some(3), Some(4)));
    assert_eq!(
        (event.route.as_deref(), event.meta.unwrap().get()),
        (Some("/api/si/ask"), r#"{"basis":"provider"}"#)
    );
    assert_eq!(ledger.number("SELECT model = 'small' AND api_key = 'k' FROM usage_events"), 1);
}

#[test]
fn an_event_of_a_client_is_written_once_and_charges_nothing() {
    let mut ledger = Ledger::new(10_000);
    let first = record_client(&mut ledger.sql, "e", &full(), Some(Micro(5)), NOW_MS).unwrap();
    let again = record_client(&mut ledger.sql, "e", &Usage::default(), None, NOW_MS + 9).unwrap();
    let (first, again) = (serde_json::json!(first), serde_json::json!(again));
    assert_eq!((&first, &first["cost_micro"], &first["tokens_in"]), (&again, &5.into(), &3.into()));
    assert_eq!((ledger.balance(), ledger.usage().len()), ((10_000, 0), 1));
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
}

#[test]
fn what_was_spent_is_summed_by_time_key_and_model() {
    let mut ledger = Ledger::new(100_000);
    for (n, (key, model, cost)) in
        [("k", "small", 1), ("k", "large", 10), ("other", "small", 100), ("other", "large", 1_000)]
            .into_iter()
            .enumerate()
    {
        let (id, at_ms) = (format!("h{n}"), NOW_MS + i64::try_from(n).unwrap());
        let owner = Owner { api_key: Some(key.to_owned()), ..Owner::default() };
        ledger.admit_as(&id, 1_000, &owner, at_ms).unwrap();
        let usage = Usage { model: Some(model.to_owned()), ..Usage::default() };
        ledger.run(at_ms, |sql, account| settle(sql, account, &id, Micro(cost), &usage, at_ms)).unwrap();
    }
    record_client(&mut ledger.sql, "mine", &full(), Some(Micro(7)), NOW_MS).unwrap();
    for (since_ms, key, model, expected) in [
        (NOW_MS, None, None, 1_111),
        (NOW_MS + 1, None, None, 1_110),
        (NOW_MS, Some("k"), None, 11),
        (NOW_MS, None, Some("small"), 101),
        (NOW_MS, Some("other"), Some("large"), 1_000),
        (NOW_MS, Some("nobody"), None, 0),
        (NOW_MS + 9, None, None, 0),
    ] {
        assert_eq!(
            spent_since(&mut ledger.sql, since_ms, key, model),
            Ok(Micro(expected)),
            "{key:?} {model:?}"
        );
    }
}
