mod bursts;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::credits::{Adjustment, Owner, Usage};
use crate::notices::NoticeKind;
use crate::shared::{Micro, TenantId};
use crate::sqlite::Sqlite;
use crate::tenant::{self, Actor, Admission, Call, Command, Policy};

const NOW_MS: i64 = 1_700_000_000_000;
const TTL_MS: i64 = 60_000;

fn me() -> TenantId {
    TenantId::Email("me@x.io".to_owned())
}

fn policy() -> Policy {
    Policy { default_plan: "free".to_owned(), guest_plan: "free".to_owned(), ..Policy::default() }
}

struct Books {
    sql: Sqlite,
    actor: Actor,
    now_ms: i64,
    made: u32,
}

impl Books {
    fn open() -> Self {
        let mut sql = Sqlite::in_memory().unwrap();
        let actor = sql.transaction(|sql| tenant::open(sql, &me(), &policy(), NOW_MS)).unwrap();
        let mut books = Self { sql, actor, now_ms: NOW_MS, made: 0 };
        books.adjust(1_000_000_000);
        books
    }

    fn run(&mut self, command: Command) {
        let call = Call { tenant: me(), api_key: None, request_id: None, command };
        let (actor, now_ms) = (&self.actor, self.now_ms);
        self.sql.transaction(|sql| tenant::handle(sql, actor, &policy(), call, now_ms)).unwrap();
    }

    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{}", self.made)
    }

    fn adjust(&mut self, micro: i64) {
        let operation = self.name("adjust");
        let adjustment = Adjustment::Delta(Micro(micro));
        self.run(Command::Adjust { operation, adjustment, reason: None, reference: None, idempotency: None });
    }

    /// A charge: an entry and a usage event; with nothing to charge the event alone.
    fn charge(&mut self, micro: i64) {
        let hold = self.name("hold");
        let admission = Admission {
            hold: hold.clone(),
            amount: Micro(1_000),
            ttl_ms: TTL_MS,
            owner: Owner::default(),
            tier: None,
            idempotency: None,
            fingerprint: None,
        };
        self.run(Command::Admit(Box::new(admission)));
        let usage = Usage { route: Some("/api/si/ask".to_owned()), ..Usage::default() };
        self.run(Command::Settle { hold, charge: Micro(micro), usage, reply: None });
    }

    fn report(&mut self, created_at_ms: i64) {
        let id = self.name("report");
        let created_at_ms = Some(created_at_ms);
        let usage = Usage::default();
        self.run(Command::RecordUsage { id, usage, cost: None, created_at_ms, idempotency: None });
    }

    fn notice(&mut self) {
        let now_ms = self.now_ms;
        let told = |sql: &mut Sqlite| {
            notices::record(sql, NoticeKind::CapSoft, &json!({"cap": "day"}), false, now_ms)
        };
        self.sql.transaction(told).unwrap();
    }

    fn newest(&mut self) -> Position {
        newest(&mut self.sql, self.now_ms).unwrap()
    }

    /// What a listener that comes again at `from` is told; none when it has to begin anew.
    fn missed(&mut self, from: Position) -> Option<Vec<Event>> {
        if passed(&mut self.sql, from, self.now_ms).unwrap().is_some() {
            return None;
        }
        self.all_after(from)
    }

    /// Everything after a place, page by page; none when some of it is gone.
    fn all_after(&mut self, from: Position) -> Option<Vec<Event>> {
        self.paged(from, &[PAGE_ROWS])
    }

    /// The same, by pages of so many rows of each kind, over and over.
    fn paged(&mut self, from: Position, pages: &[i64]) -> Option<Vec<Event>> {
        let newest = self.newest();
        let (mut all, mut at) = (Vec::new(), from);
        let mut pages = pages.iter().cycle();
        loop {
            let events = after(&mut self.sql, at, newest, *pages.next().unwrap()).unwrap()?;
            let Some(last) = events.last() else {
                assert_eq!(at.counts(), newest.counts(), "it ends where nothing is left");
                return Some(all);
            };
            at = last.position;
            all.extend(events);
        }
    }
}

fn told_by(events: &[Event]) -> Vec<String> {
    let name = |event: &Event| match &event.what {
        What::Balance(entry) => format!("balance {}", entry.seq),
        What::Usage(usage) => format!("usage {} {}", usage.seq, usage.id),
        What::Notice(notice) => format!("notice {}", notice.seq),
        What::Job(event) => format!("job {}", event.seq),
    };
    events.iter().map(name).collect()
}

/// Each with its id, as a client has it.
fn ids(events: &[Event]) -> Vec<String> {
    let id = |(event, name): (&Event, String)| format!("{} {name}", event.position.encode(&me()));
    events.iter().zip(told_by(events)).map(id).collect()
}

#[test]
fn what_is_written_comes_once_in_its_order() {
    let mut books = Books::open();
    let from = books.newest();
    assert!(books.missed(from).unwrap().is_empty());
    books.charge(500);
    books.now_ms += 5;
    books.notice();
    books.now_ms += 5;
    books.report(NOW_MS - 9_000_000_000);
    books.charge(0);
    let seen = books.missed(from).unwrap();
    let told = told_by(&seen);
    let kinds: Vec<&str> = told.iter().map(|name| name.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["balance", "usage", "notice", "usage", "usage"]);
    assert_eq!(seen.last().unwrap().position.count(), books.newest().count());
    for (at, event) in seen.iter().enumerate() {
        let rest = books.missed(event.position).unwrap();
        assert_eq!(ids(&rest), ids(&seen[at + 1..]), "from each of them on");
    }
}

#[test]
fn what_one_turn_writes_is_in_its_order_too() {
    let mut books = Books::open();
    crate::jobs::make_tables(&mut books.sql).unwrap();
    let from = books.newest();
    let admission = Admission {
        hold: "h".to_owned(),
        amount: Micro(1_000),
        ttl_ms: TTL_MS,
        owner: Owner::default(),
        tier: None,
        idempotency: None,
        fingerprint: None,
    };
    books.run(Command::Admit(Box::new(admission)));
    let (actor, now_ms) = (books.actor.clone(), books.now_ms);
    let mut sql = std::mem::replace(&mut books.sql, Sqlite::in_memory().unwrap());
    // A charge whose account is stored after all the rest, as the commands do.
    sql.transaction(|sql| -> Result<(), Refusal> {
        let mut account = credits::Account::load_at(sql, now_ms)?;
        notices::record(sql, NoticeKind::CapSoft, &json!({}), false, now_ms)?;
        credits::settle(sql, &mut account, "h", Micro(500), &Usage::default(), now_ms)?;
        notices::record(sql, NoticeKind::CapReached, &json!({}), false, now_ms)?;
        of_a_job(sql, now_ms);
        notices::record(sql, NoticeKind::BalanceLow, &json!({}), false, now_ms)?;
        account.store(sql)
    })
    .unwrap();
    (books.sql, books.actor) = (sql, actor);
    let told: Vec<String> = told_by(&books.missed(from).unwrap());
    let kinds: Vec<&str> = told.iter().map(|name| name.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["notice", "balance", "usage", "notice", "job", "notice"]);
}

/// Rows of before their places were noted go by their times, and nothing of them is lost.
#[test]
fn rows_from_before_places_were_noted_go_by_their_times() {
    let mut books = Books::open();
    crate::jobs::make_tables(&mut books.sql).unwrap();
    let from = books.newest();
    for _ in 0..40 {
        books.charge(5);
        books.now_ms += 1;
        of_a_job(&mut books.sql, books.now_ms);
        books.now_ms += 1;
        books.notice();
        books.now_ms += 1;
    }
    let noted = ids(&books.missed(from).unwrap());
    let forget =
        "UPDATE notices SET after_seq = NULL; UPDATE job_events SET after_seq = NULL, after_notice = NULL";
    books.sql.execute(forget, &[]).unwrap();
    assert_eq!(ids(&books.missed(from).unwrap()), noted);
    books.charge(5);
    of_a_job(&mut books.sql, books.now_ms);
    let all = books.paged(from, &[7]).unwrap();
    assert_eq!(&ids(&all)[..noted.len()], noted);
    assert_eq!(all.len(), noted.len() + 3);
}

/// What a job's command writes to be told, without the job.
fn of_a_job(sql: &mut Sqlite, now_ms: i64) {
    let body = json!({"job": "j", "type": "si", "event": null, "status": "queued", "attempt": 0});
    let insert = format!(
        "INSERT INTO job_events
         SELECT COALESCE(MAX(seq), 0) + 1, ?1, ?2, {}, COALESCE(({}), 0) FROM job_events",
        credits::LAST_WRITTEN,
        notices::LAST_SEQ
    );
    sql.execute(&insert, &[now_ms.into(), body.to_string().into()]).unwrap();
}

#[test]
fn a_clock_that_steps_back_far_hides_nothing() {
    let mut books = Books::open();
    books.charge(500);
    let from = books.newest();
    books.now_ms -= 3_600_000;
    books.charge(500);
    books.now_ms -= 3_600_000;
    books.charge(500);
    assert_eq!(books.missed(from).unwrap().len(), 4);
}

#[test]
fn the_window_ends_after_so_many_and_where_something_is_gone() {
    let mut books = Books::open();
    let from = books.newest();
    for n in 0..REPLAY_EVENTS_MAX {
        if n % 4 == 0 { books.notice() } else { books.report(NOW_MS) }
    }
    assert_eq!(books.missed(from).unwrap().len(), usize::try_from(REPLAY_EVENTS_MAX).unwrap());
    books.notice();
    let now = books.newest();
    assert_eq!(passed(&mut books.sql, from, NOW_MS), Ok(Some(now)), "one more than may be");
    assert_eq!(now.count(), from.count() + REPLAY_EVENTS_MAX + 1);
    // A place to come, as of books that were put back from a copy.
    for ahead in [Position { seq: now.seq + 1, ..now }, Position { notice: now.notice + 1, ..now }] {
        assert!(books.missed(ahead).is_none() && books.all_after(ahead).is_none(), "{ahead:?}");
    }
    // What was forgotten is said to be gone, also when all of it was.
    for forgotten in ["seq <= (SELECT MAX(seq) - 2 FROM notices)", "TRUE"] {
        let at = Position { notice: now.notice - 3, ..now };
        books.sql.execute(&format!("DELETE FROM notices WHERE {forgotten}"), &[]).unwrap();
        assert!(books.missed(at).is_none() && books.all_after(at).is_none(), "{forgotten}");
        assert!(books.missed(now).unwrap().is_empty(), "who has it all misses nothing");
    }
    // And what is found to be gone while it is read.
    books.report(NOW_MS);
    let last = "DELETE FROM usage_events WHERE seq = (SELECT MAX(seq) FROM usage_events)";
    books.sql.execute(last, &[]).unwrap();
    assert!(books.missed(now).is_none(), "usage too");
}

#[test]
fn a_listener_that_is_there_is_told_any_number() {
    let mut books = Books::open();
    let from = books.newest();
    for _ in 0..400 {
        books.charge(10);
    }
    for _ in 0..300 {
        books.notice();
    }
    let all = books.all_after(from).unwrap();
    assert_eq!(all.len(), 1_100);
    let counts: Vec<i64> = all.iter().map(|event| event.position.count()).collect();
    assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "each is one step");
}

#[test]
fn a_place_is_its_tenants_and_no_other_text_is_one() {
    let place = Position { at_ms: NOW_MS, seq: 7, notice: 3, job: 0 };
    let raw = place.encode(&me());
    assert_eq!(Position::decode(&raw, &me()), Ok(place));
    let later = Position { job: 5, ..place };
    assert_eq!(Position::decode(&later.encode(&me()), &me()), Ok(later), "once there was a job");
    let other = TenantId::Email("you@x.io".to_owned());
    for (raw, tenant) in [
        (raw.as_str(), &other),
        ("1-2-3-000000000000", &me()),
        ("", &me()),
        ("1-2", &me()),
        (&raw.replacen('7', "+7", 1), &me()),
        (&raw.replacen("-3-", "-3-0-", 1), &me()),
        (&raw.replacen("-3-", "-3-x-", 1), &me()),
        (&"9".repeat(200), &me()),
    ] {
        assert_eq!(Position::decode(raw, tenant), Err(Refusal::InvalidCursor), "{raw}");
    }
}

fn listener() -> Listener {
    Listener::new(None, None, Position { at_ms: NOW_MS, seq: 10, notice: 5, job: 0 }, NOW_MS)
}

fn ack(position: Position) -> String {
    json!({"type": "ack", "id": position.encode(&me())}).to_string()
}

fn hear(listener: &mut Listener, text: &str, now_ms: i64) -> Heard {
    listener.hear(Some(text), text.len(), &me(), now_ms)
}

#[test]
fn a_listener_has_so_much_room_and_more_once_it_says_that_it_hears() {
    let mut listener = listener();
    let max = usize::try_from(UNACKNOWLEDGED_EVENTS_MAX).unwrap();
    let at = |count: i64| Position { at_ms: NOW_MS, seq: 10 + count, notice: 5, job: 0 };
    listener.told(at(UNACKNOWLEDGED_EVENTS_MAX - 1));
    assert_eq!(listener.room(), 1);
    listener.told(at(UNACKNOWLEDGED_EVENTS_MAX));
    assert_eq!((listener.room(), listener.is_held_back()), (0, false), "nothing waits yet");
    let to_come = ack(at(UNACKNOWLEDGED_EVENTS_MAX + 1));
    assert_eq!(hear(&mut listener, &to_come, NOW_MS), Heard::Unknown, "to come");
    assert_eq!(hear(&mut listener, &ack(at(1)), NOW_MS), Heard::Fine);
    assert_eq!(hear(&mut listener, &ack(at(-9)), NOW_MS), Heard::Fine, "an older one takes nothing back");
    assert_eq!(listener.room(), 1);
    listener.restart(at(9_999));
    assert_eq!(listener.room(), max);
}

#[test]
fn who_acknowledges_nothing_while_something_waits_is_ended_in_time() {
    let mut listener = listener();
    let at = |count: i64| Position { at_ms: NOW_MS, seq: 10 + count, notice: 5, job: 0 };
    listener.told(at(UNACKNOWLEDGED_EVENTS_MAX));
    listener.hold_back(NOW_MS + 5);
    listener.hold_back(NOW_MS + 50);
    let until_ms = NOW_MS + 5 + ACK_WAIT_MS_MAX;
    assert_eq!(listener.due_at_ms(Some(until_ms)), until_ms, "pings count for nothing here");
    assert_eq!(hear(&mut listener, &ack(at(0)), NOW_MS), Heard::Fine, "nothing new");
    assert_eq!(listener.ending(Some(until_ms), until_ms - 1), None);
    assert_eq!(listener.ending(Some(until_ms), until_ms), Some(Ending::Unacknowledged));
    assert_eq!(hear(&mut listener, &ack(at(1)), until_ms - 1), Heard::GoesOn);
    assert_eq!(listener.ending(Some(until_ms), until_ms), None);
    assert_eq!(hear(&mut listener, &ack(at(2)), until_ms), Heard::Fine, "nothing waits");
    // As it was kept before there was anything to hold back.
    let mut kept = serde_json::to_value(&listener).unwrap();
    kept.as_object_mut().unwrap().remove("held_back_ms").unwrap();
    assert_eq!(serde_json::from_value::<Listener>(kept).unwrap(), listener);
}

#[test]
fn messages_are_bounded_in_size_and_number() {
    let mut listener = listener();
    assert_eq!(
        listener.hear(None, MESSAGE_BYTES_MAX + 1, &me(), NOW_MS),
        Heard::Ended(Ending::MessageTooLarge)
    );
    assert_eq!(listener.hear(None, 3, &me(), NOW_MS), Heard::Unknown);
    for _ in 2..MESSAGES_PER_MINUTE_MAX {
        assert_eq!(hear(&mut listener, "{}", NOW_MS + 59_999), Heard::Unknown);
    }
    assert_eq!(hear(&mut listener, "{}", NOW_MS + 59_999), Heard::Ended(Ending::TooManyMessages));
    assert_eq!(hear(&mut listener, "{}", NOW_MS + 60_000), Heard::Unknown, "a new minute");
}

#[test]
fn a_listener_ends_with_its_credential_or_when_it_is_silent() {
    let mut listener = Listener::new(None, Some(NOW_MS + 400_000), listener().position, NOW_MS);
    assert_eq!(listener.due_at_ms(None), NOW_MS + IDLE_MS_MAX);
    assert_eq!(listener.ending(None, NOW_MS + IDLE_MS_MAX - 1), None);
    assert_eq!(listener.ending(None, NOW_MS + IDLE_MS_MAX), Some(Ending::Idle));
    assert_eq!(listener.ending(Some(NOW_MS + 200_000), NOW_MS + IDLE_MS_MAX), None, "it pinged");
    hear(&mut listener, "{}", NOW_MS + 200_000);
    assert_eq!(listener.due_at_ms(None), NOW_MS + 400_000, "its token ends first");
    assert_eq!(listener.ending(None, NOW_MS + 399_999), None);
    assert_eq!(listener.ending(None, NOW_MS + 400_000), Some(Ending::CredentialEnded));
    let endless = Listener::new(None, Some(i64::MAX), listener.position, NOW_MS);
    assert_eq!(endless.ends_at_ms, NOW_MS + SOCKET_MS_MAX, "a day at most");
}

#[derive(Debug, Clone)]
enum Step {
    Charge(i64),
    Grant,
    Report(i64),
    Notice,
    OfAJob,
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_i64..900).prop_map(Step::Charge),
        1 => Just(Step::Grant),
        2 => (-9_000_000_000_i64..300_000).prop_map(Step::Report),
        2 => Just(Step::Notice),
        3 => Just(Step::OfAJob),
        // Backwards too.
        3 => (-200_000_i64..200_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is written, whenever, with whatever clock: a listener that goes away at any event and comes again hears
    /// the rest of what one hears that stays, in the same order and by the same ids, however it is read.
    #[test]
    fn nothing_is_missed_or_heard_twice(
        steps in prop::collection::vec(step(), 1..60),
        cut in any::<prop::sample::Index>(),
        pages in prop::collection::vec(1..9_i64, 1..6),
    ) {
        let mut books = Books::open();
        crate::jobs::make_tables(&mut books.sql).unwrap();
        let from = books.newest();
        let mut live = Vec::new();
        for step in steps {
            match step {
                Step::Charge(micro) => books.charge(micro),
                Step::Grant => books.adjust(5),
                Step::Report(ms) => { let at_ms = books.now_ms + ms; books.report(at_ms); }
                Step::Notice => books.notice(),
                Step::OfAJob => of_a_job(&mut books.sql, books.now_ms),
                Step::Wait(ms) => books.now_ms += ms,
            }
            let at = live.last().map_or(from, |last: &Event| last.position);
            live.extend(books.all_after(at).unwrap());
        }
        let counts: Vec<i64> = live.iter().map(|event| event.position.count() - from.count()).collect();
        prop_assert_eq!(counts, (1..=i64::try_from(live.len()).unwrap()).collect::<Vec<_>>());
        let names: std::collections::BTreeSet<String> = told_by(&live).into_iter().collect();
        prop_assert_eq!(names.len(), live.len());
        prop_assert_eq!(ids(&books.missed(from).unwrap()), ids(&live));
        if !live.is_empty() {
            let at = cut.index(live.len());
            let place = Position::decode(&live[at].position.encode(&me()), &me()).unwrap();
            prop_assert_eq!(ids(&books.paged(place, &pages).unwrap()), ids(&live[at + 1..]));
        }
    }
}
