//! What listeners are told: every change that clients see, in its order, without a gap or a double.

use super::*;
use crate::events::{self, Event, Position, What};

impl Shop {
    fn place(&mut self) -> Position {
        events::newest(&mut self.sql, self.now_ms).unwrap()
    }

    fn since(&mut self, from: Position) -> Vec<Event> {
        self.kept_since(from).expect("all of it is kept")
    }

    fn kept_since(&mut self, from: Position) -> Option<Vec<Event>> {
        let newest = self.place();
        events::after(&mut self.sql, from, newest, 256).unwrap()
    }

    fn passed(&mut self, from: Position) -> bool {
        events::passed(&mut self.sql, from, self.now_ms).unwrap().is_some()
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
    let beat = Beat { id: "a".to_owned(), epoch: 2, progress: Some(progress), checkpoint: None, owed: None };
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
        let rest = shop.since(place);
        assert_eq!(told_of(&rest), expected[at + 1..]);
        let ids = |events: &[Event]| -> Vec<Position> { events.iter().map(|event| event.position).collect() };
        assert_eq!(ids(&rest), ids(&events[at + 1..]));
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
    shop.make("a");
    shop.cancel("a").unwrap();
    // As those of commands, without the jobs.
    let told = |shop: &mut Shop, count: i64| {
        let more = "INSERT INTO job_events
            WITH RECURSIVE n(seq) AS (SELECT MAX(seq) + 1 FROM job_events UNION ALL SELECT seq + 1 FROM n LIMIT ?1)
            SELECT n.seq, e.at_ms, e.body, e.after_seq, e.after_notice FROM n, job_events AS e WHERE e.seq = (SELECT MIN(seq) FROM job_events)";
        shop.sql.execute(more, &[count.into()]).unwrap();
    };
    // As many as are kept, and nearly as many more as an alarm waits for.
    let most = EVENTS_KEPT + 1_000;
    told(&mut shop, most - 2);
    shop.ring();
    assert_eq!(shop.number("SELECT COUNT(*) FROM job_events"), most, "none is forgotten before its time");
    for _ in 0..10 {
        told(&mut shop, 700);
        shop.ring();
    }
    let kept = shop.number("SELECT COUNT(*) FROM job_events");
    assert!((EVENTS_KEPT..=most).contains(&kept), "{kept}");
    assert!(shop.passed(from) && shop.kept_since(from).is_none());
    let here = shop.place();
    assert_eq!(here.job, most + 7_000, "no number is given twice");
    // Whatever is within what is sent again is kept too.
    let edge = Position { seq: here.seq, job: here.job - events::REPLAY_EVENTS_MAX, ..here };
    assert!(!shop.passed(edge) && shop.kept_since(edge).is_some());
    // However much there is, one alarm forgets so many and no more.
    told(&mut shop, 9_000);
    shop.ring();
    assert_eq!(shop.number("SELECT COUNT(*) FROM job_events"), kept + 8_000);
    let here = shop.place();
    shop.make("more");
    assert_eq!(told_of(&shop.since(here)), ["create queued 0"]);
    shop.sql.execute("DELETE FROM job_events WHERE seq <= ?1", &[here.job.into()]).unwrap();
    assert!(shop.passed(Position { job: here.job - 1, ..here }) && !shop.passed(here));
}
