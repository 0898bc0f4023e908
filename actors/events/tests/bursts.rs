//! Bursts, whatever a listener does meanwhile: it is told what was written, all of it, in its order and once, and never
//! more at a time than it has room for. Held against the whole history, which is kept here by counting.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::*;

/// One listener, and what came to its client.
struct Client {
    listener: Listener,
    /// Where it was last, and every event since it began, or began anew.
    heard: Vec<Event>,
    from: Position,
    /// On its way: sent, and not acknowledged.
    unacknowledged: VecDeque<Position>,
}

impl Client {
    fn new(at: Position, now_ms: i64) -> Self {
        let listener = Listener::new(None, None, at, now_ms);
        Self { listener, heard: Vec::new(), from: at, unacknowledged: VecDeque::new() }
    }

    fn place(&self) -> Position {
        self.heard.last().map_or(self.from, |last| last.position)
    }

    /// What the shell does after a turn of commands, and after an acknowledgement that makes room.
    fn told(&mut self, books: &mut Books, telling: &mut Telling<Event>) {
        let before = self.listener.clone();
        let told = telling.tell(&mut books.sql, &mut self.listener, Event::clone).unwrap();
        assert_eq!(told.changed, self.listener != before, "it is kept when it changed");
        for event in told.messages {
            self.unacknowledged.push_back(event.position);
            self.heard.push(event);
        }
        assert!(self.unacknowledged.len() <= usize::try_from(UNACKNOWLEDGED_EVENTS_MAX).unwrap());
        if told.passed.is_some() {
            self.begin_anew();
        }
        let behind = self.listener.position.counts() != books.newest().counts();
        assert_eq!(self.listener.is_held_back(), behind, "only what is known to wait is not told");
    }

    fn begin_anew(&mut self) {
        self.from = self.listener.position;
        self.heard.clear();
        self.unacknowledged.clear();
    }

    /// Says that it has so many more of what it was sent.
    fn acknowledges(&mut self, books: &mut Books, count: usize) {
        let acknowledged = self.unacknowledged.drain(..count.min(self.unacknowledged.len())).next_back();
        let Some(last) = acknowledged else { return };
        let text = ack(last);
        let heard = self.listener.hear(Some(&text), text.len(), &me(), books.now_ms);
        match heard {
            Heard::GoesOn => self.told(books, &mut Telling::new(books.now_ms)),
            Heard::Fine => {}
            other => panic!("{other:?}"),
        }
    }

    /// Its connection breaks in the middle of what is on its way, and it comes again with the last that it has.
    fn comes_again(&mut self, books: &mut Books, lost: usize) {
        let lost = lost.min(self.unacknowledged.len());
        self.heard.truncate(self.heard.len() - lost);
        let place = Position::decode(&self.place().encode(&me()), &me()).unwrap();
        let passed = passed(&mut books.sql, place, books.now_ms).unwrap();
        self.listener = Listener::new(None, None, passed.unwrap_or(place), books.now_ms);
        self.unacknowledged.clear();
        if passed.is_some() {
            assert!(books.missed(place).is_none(), "only what cannot be told is passed over");
            self.begin_anew();
        }
        self.told(books, &mut Telling::new(books.now_ms));
    }

    /// All that was written since it began: each number once and in its order.
    fn check(&self, books: &mut Books, history: &History) {
        let mut before = self.from;
        for event in &self.heard {
            assert_eq!(event.position.count(), before.count() + 1, "a gap or a double");
            assert!(before.is_within(event.position), "each kind in its order");
            before = event.position;
            let (is, says) = match &event.what {
                What::Balance(entry) => (before.seq, entry.seq),
                What::Usage(usage) => (before.seq, usage.seq),
                What::Notice(notice) => (before.notice, notice.seq),
                What::Job(event) => (before.job, event.seq),
            };
            assert_eq!(is, says, "the event of that place");
        }
        assert_eq!(before, self.listener.position);
        history.has(&self.heard);
        let newest = books.newest();
        assert!(before.is_within(newest), "nothing is told that was not written");
    }
}

/// What one hears that is there for every event, and forgets none.
struct History {
    from: Position,
    heard: Vec<Event>,
    ids: Vec<String>,
}

impl History {
    fn new(from: Position) -> Self {
        Self { from, heard: Vec::new(), ids: Vec::new() }
    }

    fn goes_on(&mut self, books: &mut Books) {
        let at = self.heard.last().map_or(self.from, |last| last.position);
        let events = books.all_after(at).unwrap();
        self.ids.extend(ids(&events));
        self.heard.extend(events);
    }

    /// The order and the ids are the same in every pass.
    fn has(&self, heard: &[Event]) {
        let Some(first) = heard.first() else { return };
        let at = usize::try_from(first.position.count() - self.from.count() - 1).unwrap();
        assert_eq!(ids(heard), self.ids[at..at + heard.len()]);
    }
}

#[derive(Debug, Clone)]
enum Happens {
    /// So many events of all kinds, at once.
    Burst(i64),
    Acknowledged {
        client: usize,
        count: usize,
    },
    Broken {
        client: usize,
        lost: usize,
    },
    /// The oldest notices and events of jobs are forgotten, but for so many of each.
    Pruned(i64),
    Wait(i64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => prop_oneof![1..40_i64, 200..900_i64].prop_map(Happens::Burst),
        6 => (0..3_usize, prop_oneof![1..30_usize, 200..600_usize])
            .prop_map(|(client, count)| Happens::Acknowledged { client, count }),
        2 => (0..3_usize, 0..600_usize).prop_map(|(client, lost)| Happens::Broken { client, lost }),
        1 => (0..200_i64).prop_map(Happens::Pruned),
        2 => (-90_000..200_000_i64).prop_map(Happens::Wait),
    ]
}

impl Books {
    /// Most of it cheap to write: a charge now and then, between all that is told besides.
    fn burst(&mut self, count: i64, history: &mut History) {
        for n in 0..count {
            if n % 7 == 0 {
                history.goes_on(self);
            }
            match n % 16 {
                0 => self.charge(10),
                1..=4 => self.notice(),
                5..=11 => of_a_job(&mut self.sql, self.now_ms),
                _ => self.report(self.now_ms - n * 1_000),
            }
        }
        history.goes_on(self);
    }

    /// After a turn: all are told with one reading.
    fn tell(&mut self, clients: &mut [Client]) {
        let mut telling = Telling::new(self.now_ms);
        for client in clients {
            client.told(self, &mut telling);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_listener_that_acknowledges_hears_every_burst(all in prop::collection::vec(happens(), 1..24)) {
        let mut books = Books::open();
        crate::jobs::make_tables(&mut books.sql).unwrap();
        let at = books.newest();
        let mut history = History::new(at);
        let mut clients: Vec<Client> = (0..3).map(|_| Client::new(at, books.now_ms)).collect();
        for what in all {
            match what {
                Happens::Burst(count) => {
                    books.burst(count, &mut history);
                    books.tell(&mut clients);
                }
                Happens::Acknowledged { client, count } => clients[client].acknowledges(&mut books, count),
                Happens::Broken { client, lost } => clients[client].comes_again(&mut books, lost),
                Happens::Pruned(kept) => {
                    for table in ["notices", "job_events"] {
                        // Of events of jobs the newest always stays: their next number is made of it.
                        let old = format!("DELETE FROM {table} WHERE seq < (SELECT MAX(seq) FROM {table}) - ?1");
                        books.sql.execute(&old, &[kept.into()]).unwrap();
                    }
                }
                Happens::Wait(ms) => books.now_ms += ms,
            }
            for client in &clients {
                client.check(&mut books, &history);
            }
        }
        // Who acknowledges what it has comes to the end, in as many steps as there is room for and no more.
        let newest = books.newest();
        for client in &mut clients {
            let behind = newest.count() - client.listener.position.count();
            for _ in 0..=behind / UNACKNOWLEDGED_EVENTS_MAX {
                client.acknowledges(&mut books, usize::MAX);
            }
            client.check(&mut books, &history);
            prop_assert_eq!(client.listener.position.counts(), newest.counts());
        }
    }
}

#[test]
fn listeners_at_one_place_share_what_is_read() {
    let mut books = Books::open();
    crate::jobs::make_tables(&mut books.sql).unwrap();
    let at = books.newest();
    let mut listeners: Vec<Listener> =
        (0..SOCKETS_MAX).map(|_| Listener::new(None, None, at, NOW_MS)).collect();
    books.burst(2_000, &mut History::new(at));
    let framed = RefCell::new(0);
    let mut telling = Telling::new(NOW_MS);
    for listener in &mut listeners {
        let frame = |event: &Event| {
            *framed.borrow_mut() += 1;
            event.position
        };
        let told = telling.tell(&mut books.sql, listener, frame).unwrap();
        assert_eq!(told.messages.len(), usize::try_from(UNACKNOWLEDGED_EVENTS_MAX).unwrap());
        assert!(listener.is_held_back());
    }
    let read = framed.into_inner();
    assert!(read <= 4 * PAGE_ROWS, "{read} were made for {UNACKNOWLEDGED_EVENTS_MAX}, whoever listens");
    // Who is held back is looked past, however much comes: not even the numbers are read.
    books.sql.execute("DROP TABLE notices", &[]).unwrap();
    books.sql.execute("DROP TABLE entries", &[]).unwrap();
    let mut telling = Telling::new(NOW_MS);
    for listener in &mut listeners {
        let told = telling.tell(&mut books.sql, listener, |event| event.position).unwrap();
        assert!(told.messages.is_empty() && !told.changed);
    }
}

#[test]
fn an_acknowledgement_of_one_reads_little() {
    let mut books = Books::open();
    crate::jobs::make_tables(&mut books.sql).unwrap();
    let mut client = Client::new(books.newest(), NOW_MS);
    let at = books.newest();
    books.burst(1_500, &mut History::new(at));
    client.told(&mut books, &mut Telling::new(NOW_MS));
    let text = ack(client.unacknowledged[0]);
    assert_eq!(hear(&mut client.listener, &text, NOW_MS), Heard::GoesOn);
    let framed = RefCell::new(0);
    let frame = |event: &Event| {
        *framed.borrow_mut() += 1;
        event.position
    };
    let told = Telling::new(NOW_MS).tell(&mut books.sql, &mut client.listener, frame).unwrap();
    assert_eq!(told.messages.len(), 1);
    assert!(framed.into_inner() <= 3, "one of each kind");
    assert!(client.listener.is_held_back());
}
