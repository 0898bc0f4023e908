//! What listeners are told: every change that clients see, in its order, without a gap or a double.

use super::*;
use crate::events::{self, After, Event, Position, What};

impl Shop {
    fn place(&mut self) -> Position {
        events::newest(&mut self.sql, self.now_ms).unwrap()
    }

    fn since(&mut self, from: Position) -> Vec<Event> {
        match events::missed(&mut self.sql, from, self.now_ms).unwrap() {
            After::Events { events, more: false } => events,
            other => panic!("{other:?}"),
        }
    }
}

fn told_of(events: &[Event]) -> Vec<String> {
    let said = |event: &Event| match &event.what {
        What::Job(event) => {
            let what = event.body.event.map_or("create".to_owned(), |what| {
                serde_json::to_value(what).unwrap().as_str().unwrap().to_owned()
            });
            Some(format!("{what} {} {}", event.body.status.name(), event.body.attempt))
        }
        What::Balance(_) => Some("balance".to_owned()),
        What::Usage(_) => Some("usage".to_owned()),
        What::Notice(_) => None,
    };
    events.iter().filter_map(said).collect()
}

#[test]
fn every_change_that_clients_see_is_told_once() {
    let mut shop = Shop::new(50_000);
    let from = shop.place();
    shop.make("a");
    shop.got("w").unwrap();
    shop.now_ms += 1;
    shop.fail("a", 1, "timeout").unwrap();
    while shop.state("a") == State::Delayed {
        shop.ring_in_time();
    }
    shop.got("w").unwrap();
    let progress = RawValue::from_string("{\"done\":1}".to_owned()).unwrap();
    let beat = Beat { id: "a".to_owned(), epoch: 2, progress: Some(progress), checkpoint: None };
    shop.job(JobCommand::Beat(beat.clone())).unwrap();
    shop.job(JobCommand::Beat(beat)).unwrap();
    shop.now_ms += 1;
    shop.complete("a", 2, 1_000).unwrap();
    let events = shop.since(from);
    let expected = [
        "create queued 0",
        "lease running 1",
        "retry queued 1",
        "lease running 2",
        "beat running 2",
        "balance",
        "usage",
        "complete succeeded 2",
    ];
    assert_eq!(told_of(&events), expected);
    let counts: Vec<i64> = events.iter().map(|event| event.position.count()).collect();
    assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "each is one step: {counts:?}");
    // From every place on, the rest and nothing else.
    for (at, event) in events.iter().enumerate() {
        let place = Position::decode(&event.position.encode(&me()), &me()).unwrap();
        assert_eq!(told_of(&shop.since(place)), expected[at + 1..]);
    }
}

#[test]
fn a_listener_that_was_away_before_there_were_jobs_is_told_of_the_first() {
    let mut shop = Shop::new(50_000);
    let from = shop.place();
    assert_eq!(from.job, 0);
    let old: Position =
        serde_json::from_value(serde_json::json!({ "at_ms": from.at_ms, "seq": from.seq, "notice": 0 }))
            .unwrap();
    assert_eq!(old, from, "as sockets have it from before");
    shop.make("a");
    assert_eq!(told_of(&shop.since(old)), ["create queued 0"]);
}

#[test]
fn old_events_are_forgotten_and_who_asks_for_them_hears_so() {
    let mut shop = Shop::running(1);
    let from = shop.place();
    for n in 0..1_100 {
        shop.make(&format!("j{n}"));
        if n % 100 == 0 {
            shop.ring();
        }
        shop.cancel(&format!("j{n}")).unwrap();
    }
    shop.ring();
    let kept = shop.number("SELECT COUNT(*) FROM job_events");
    assert!((EVENTS_KEPT..EVENTS_KEPT * 2 + 250).contains(&kept), "{kept}");
    assert!(matches!(events::missed(&mut shop.sql, from, shop.now_ms), Ok(After::Passed { .. })));
    assert!(matches!(events::after(&mut shop.sql, from, shop.now_ms), Ok(After::Passed { .. })));
    let here = shop.place();
    assert_eq!(here.job, 2_200, "no number is given twice");
    shop.make("more");
    assert_eq!(told_of(&shop.since(here)), ["create queued 0"]);
}
