//! Sockets and sequence: who is let in, what is said again, and what ends a socket.

use super::client::{Client, quiet};
use super::host::{Host, ROW_BYTES, Sent, WINDOW_MS, answer, me, open, settings, sound, understood};
use crate::shared::{ModelPrice, Refusal, TenantId};
use crate::voice::frame::Frame;
use crate::voice::limits::{
    ACK_FRAMES, ACK_TAIL_MS, DEAD_AFTER_MS, IDLE_LOOK_MS, RETENTION_MS, RING_ROWS_MAX, TOKENS_KEPT,
    UNATTACHED_MS, close,
};
use crate::voice::{Command, Control, Down, Event, Message, NotResumed, Prices, Reply, Resume, Settings, Up};

const MUCH: i64 = 1_000_000_000;

fn pair() -> (Host, Client) {
    let mut host = Host::new(settings(), MUCH);
    let mut client = Client::new(&mut host);
    quiet(&mut host, &mut client);
    (host, client)
}

fn resume(host: &mut Host, token: &str, last_down: u32, up_next: u32) -> Vec<Sent> {
    let line = host.dial_again();
    let resume = Resume { session: "s1".to_owned(), token: token.to_owned(), last_down, up_next };
    let text = serde_json::to_string(&Control::Resume(resume)).unwrap();
    host.lines[line].up.push_back(Message::Text(text));
    host.deliver_up(line);
    host.lines[line].down.drain(..).collect()
}

fn failed(reason: NotResumed) -> Vec<Sent> {
    let down = Down::Event(None, Event::ResumeFailed { reason });
    vec![Sent::Frame(down), Sent::Closed(close::NOT_RESUMED)]
}

fn is_resumed(sent: &[Sent]) -> bool {
    matches!(sent.first(), Some(Sent::Frame(Down::Event(None, Event::Resumed { .. }))))
}

#[test]
fn a_session_is_opened_once_by_its_own_tenant() {
    let mut host = Host::new(settings(), MUCH);
    assert!(matches!(host.run(Command::Open(Box::new(open(settings())))), Reply::Session(_)));
    let you = TenantId::Email("you@x.io".to_owned());
    let mut other = open(settings());
    other.tenant = you.clone();
    assert_eq!(host.try_run(Command::Open(Box::new(other))), Err(Refusal::TenantMismatch));
    for command in [
        Command::Read { tenant: you.clone() },
        Command::Turns { tenant: you.clone(), after: 0, limit: 1 },
        Command::End { tenant: you },
    ] {
        assert_eq!(host.try_run(command), Err(Refusal::TenantMismatch));
    }
    let wrong = Settings { sample_rate_hz: 44_100, ..settings() };
    let refused = host.try_run(Command::Open(Box::new(open(wrong))));
    assert!(matches!(refused, Err(Refusal::InvalidSetting { .. })), "{refused:?}");
}

#[test]
fn where_nobody_opened_a_session_is_none() {
    let mut sql = crate::sqlite::Sqlite::in_memory().unwrap();
    let told = sql.transaction(|sql| crate::voice::handle(sql, Command::Read { tenant: me() }, 1)).unwrap();
    assert_eq!((told.reply, told.actions), (Reply::Unknown, Vec::new()));
}

#[test]
fn a_token_is_good_until_its_client_is_known_to_have_a_newer_one() {
    let (mut host, _client) = pair();
    // token-1 came with the welcome. Who did not get it has its ticket.
    assert!(is_resumed(&resume(&mut host, "the ticket", 0, 1)));
    assert!(is_resumed(&resume(&mut host, "token-1", 0, 1)));
    assert!(is_resumed(&resume(&mut host, "token-1", 0, 1)));
    let epoch = host.view().epoch;
    assert_eq!(epoch, 4);
    let said = Message::Text(serde_json::to_string(&Control::Ack { seq: 0 }).unwrap());
    host.run(Command::Message { epoch, message: said });
    for token in ["the ticket", "token-1"] {
        assert_eq!(resume(&mut host, token, 0, 1), failed(NotResumed::Superseded), "{token}");
    }
    assert_eq!(resume(&mut host, "token-none", 0, 1), failed(NotResumed::BadToken));
    // The one that came with epoch 4; others were drawn for those that were turned away.
    assert!(is_resumed(&resume(&mut host, "token-4", 0, 1)));
    let tokens = (0..40).filter(|_| is_resumed(&resume(&mut host, "token-4", 0, 1))).count();
    assert_eq!(tokens, 40, "the one that its client has is never forgotten");
    let kept = host.number("SELECT COUNT(*) FROM tokens");
    assert!(kept <= i64::from(TOKENS_KEPT) + 2, "{kept}");
    assert_eq!(host.number("SELECT COUNT(*) FROM tokens WHERE digest LIKE 'token%'"), 0);
}

#[test]
fn the_older_socket_is_closed_and_not_listened_to() {
    let (mut host, mut client) = pair();
    client.speak(&mut host);
    let line = client.line.unwrap();
    let late = host.lines[line].up.pop_front().unwrap();
    client.drop_line();
    client.come_back(&mut host);
    quiet(&mut host, &mut client);
    assert_eq!(host.view().epoch, 2);
    host.run(Command::Message { epoch: 1, message: late });
    host.run(Command::Detached { epoch: 1 });
    assert!(host.view().attached, "the newer one is not meant");
    assert_eq!(host.number("SELECT COUNT(*) FROM up"), 1, "once, by the newer socket");
    let next = Frame { flags: 0, stream: 0, seq: 2, media_offset: 0, pcm: vec![0; 160] };
    for epoch in [0, 1, 3] {
        host.run(Command::Message { epoch, message: Message::Binary(next.encode()) });
        host.run(Command::Unnumbered { epoch, up: Up::Audio(next.clone()) });
    }
    assert_eq!(host.number("SELECT COUNT(*) FROM up"), 1);
    let first = &host.lines[0];
    assert!(!first.open);
    assert_eq!(close::TAKEN_OVER, 4001);
}

#[test]
fn a_ticket_opens_the_first_socket_alone() {
    let (mut host, _client) = pair();
    let line = host.dial();
    let told: Vec<Sent> = host.lines[line].down.drain(..).collect();
    assert_eq!(told, failed(NotResumed::Superseded));
}

#[test]
fn who_lacks_what_is_gone_or_has_what_never_was_is_told_so() {
    let (mut host, mut client) = pair();
    client.speak(&mut host);
    quiet(&mut host, &mut client);
    let (last_down, up_next) = (client.last_down, 2);
    assert!(last_down > 0);
    for (last_down, up_next) in [(last_down - 1, up_next), (last_down + 1, up_next), (last_down, up_next - 1)]
    {
        assert_eq!(resume(&mut host, "token-1", last_down, up_next), failed(NotResumed::Evicted));
    }
    assert!(is_resumed(&resume(&mut host, "token-1", last_down, up_next)));
}

#[test]
fn the_window_ends_by_the_alarm_and_is_said_to_have() {
    for (ms, expired) in [(WINDOW_MS - 1, false), (WINDOW_MS, true)] {
        let (mut host, mut client) = pair();
        host.lose_line(0);
        client.drop_line();
        host.wait(ms);
        client.come_back(&mut host);
        quiet(&mut host, &mut client);
        assert_eq!(client.failed, expired.then_some(NotResumed::Expired), "{ms}");
    }
    let mut host = Host::new(settings(), MUCH);
    host.wait(UNATTACHED_MS);
    assert_eq!(host.view().why.as_deref(), Some("window"), "nobody ever came");
    host.wait(RETENTION_MS);
    assert!(host.forgotten);
    assert_eq!(host.number("SELECT COUNT(*) FROM sqlite_master"), 0);
}

#[test]
fn a_silent_socket_is_dead_from_when_it_was_however_late_that_is_seen() {
    let prices = Prices { session: ModelPrice::flat(0), ..settings().prices };
    let mut host = Host::new(Settings { prices, ..settings() }, MUCH);
    let _client = Client::new(&mut host);
    // The alarm that waited for this socket rings, and then nobody answers pings any more.
    host.wait(UNATTACHED_MS);
    host.lines[0].open = false;
    host.wait(IDLE_LOOK_MS - 1);
    assert!(host.view().attached, "an idle socket is looked at rarely");
    host.wait(1);
    let view = host.view();
    assert!(!view.attached);
    assert_eq!(view.attached_ms, UNATTACHED_MS + DEAD_AFTER_MS, "and nobody pays for that");
    assert_eq!(view.why.as_deref(), Some("window"), "its window has passed since");
    // With a turn under way it is looked at in time.
    let (mut host, mut client) = pair();
    client.speak(&mut host);
    quiet(&mut host, &mut client);
    host.lines[0].open = false;
    host.wait(DEAD_AFTER_MS);
    assert!(!host.view().attached);
}

#[test]
fn a_gap_a_flood_and_a_monster_end_the_socket_and_not_the_session() {
    let frame = |seq, bytes: usize| {
        Message::Binary(Frame { flags: 0, stream: 0, seq, media_offset: 0, pcm: vec![0; bytes] }.encode())
    };
    let gap = vec![frame(1, 160), frame(3, 160)];
    let monster = vec![frame(1, 70_000)];
    let flood = vec![Message::Text(r#"{"type":"ack","seq":0}"#.to_owned()); 401];
    for (messages, code) in [(gap, close::GAP), (monster, close::TOO_LARGE), (flood, close::POLICY)] {
        let (mut host, mut client) = pair();
        for message in messages {
            host.run(Command::Message { epoch: 1, message });
        }
        assert_eq!(host.lines[0].down.back(), Some(&Sent::Closed(code)));
        assert!(!host.view().attached);
        quiet(&mut host, &mut client);
        client.come_back(&mut host);
        quiet(&mut host, &mut client);
        assert!(host.view().attached || code == close::GAP, "{:?}", client.failed);
    }
}

#[test]
fn what_is_not_understood_is_answered_and_costs_no_number() {
    let (mut host, mut client) = pair();
    for message in [
        Message::Text("{".to_owned()),
        Message::Text(r#"{"type":"nothing"}"#.to_owned()),
        Message::Binary(vec![9; 40]),
        Message::Binary(vec![]),
    ] {
        host.run(Command::Message { epoch: 1, message });
    }
    quiet(&mut host, &mut client);
    let errors = client.events.iter().filter(|event| matches!(event, Event::Error { .. })).count();
    assert_eq!(errors, 4);
    client.speak(&mut host);
    quiet(&mut host, &mut client);
    assert_eq!(host.number("SELECT COUNT(*) FROM up"), 1);
}

#[test]
fn frames_are_acknowledged_in_heaps_and_the_last_by_the_alarm() {
    let (mut host, mut client) = pair();
    let acks = |client: &Client| {
        let seq = |event: &Event| if let Event::Ack { seq } = event { Some(*seq) } else { None };
        client.events.iter().filter_map(seq).collect::<Vec<_>>()
    };
    host.wait(ACK_TAIL_MS);
    client.speak(&mut host);
    quiet(&mut host, &mut client);
    assert_eq!(acks(&client), [1], "the first after a silence at once");
    (0..ACK_FRAMES).for_each(|_| client.speak(&mut host));
    quiet(&mut host, &mut client);
    assert_eq!(acks(&client), [1, 1 + ACK_FRAMES]);
    client.speak(&mut host);
    quiet(&mut host, &mut client);
    assert_eq!(acks(&client).len(), 2);
    host.wait(ACK_TAIL_MS);
    quiet(&mut host, &mut client);
    assert_eq!(acks(&client), [1, 1 + ACK_FRAMES, 2 + ACK_FRAMES]);
    // What is said twice is heard once, also where it says something else.
    let again = Frame { flags: 0, stream: 0, seq: 1, media_offset: 0, pcm: vec![0; 160] };
    host.run(Command::Message { epoch: 1, message: Message::Binary(again.encode()) });
    let commit = r#"{"type":"commit","seq":2}"#.to_owned();
    host.run(Command::Message { epoch: 1, message: Message::Text(commit) });
    assert_eq!(host.number("SELECT COUNT(*) FROM up"), i64::from(ACK_FRAMES) + 2);
    assert_eq!(host.number("SELECT COUNT(*) FROM turns WHERE state = 'listening'"), 1);
}

#[test]
fn a_turn_outlives_its_socket_and_is_said_again() {
    let (mut host, mut client) = pair();
    client.speak(&mut host);
    client.commit(&mut host);
    while host.lines[0].up.front().is_some() {
        host.deliver_up(0);
    }
    client.drop_line();
    host.lose_line(0);
    host.settle_down();
    let pcm = client.said[0].pcm.clone();
    client.come_back(&mut host);
    quiet(&mut host, &mut client);
    let all: Vec<u8> = host.turns()[0].user_text.iter().flat_map(|text| spoken(&answer(text))).collect();
    assert_eq!(host.turns()[0].user_text, Some(understood(&pcm)));
    assert_eq!(client.sound_of("turn-0"), all);
    assert!(!client.gap);
    assert!(client.events.contains(&Event::Replayed));
}

pub(super) fn spoken(answer: &str) -> Vec<u8> {
    let mut rest = answer;
    let mut all = Vec::new();
    while let Some((part, after)) = rest.split_once(". ") {
        all.extend(sound(&format!("{part}. ")));
        rest = after;
    }
    all.extend(sound(rest));
    all
}

#[test]
fn who_acknowledges_nothing_is_disconnected_in_the_end() {
    let (mut host, mut client) = pair();
    let mut seq = 1;
    while host.view().attached && seq < 3_000 {
        let text = format!(r#"{{"type":"say","seq":{seq},"text":"x"}}"#);
        host.run(Command::Message { epoch: 1, message: Message::Text(text) });
        host.wait(30);
        seq += 1;
    }
    assert_eq!(host.lines[0].down.back(), Some(&Sent::Closed(close::BEHIND)));
    assert!(host.number("SELECT COUNT(*) FROM down") <= RING_ROWS_MAX + 4);
    // It comes back for what it lacks.
    let line = client.drop_line().unwrap();
    host.lines[line].down.clear();
    let told = resume(&mut host, "token-1", 0, seq);
    assert!(is_resumed(&told), "{:?}", told.first());
}

#[test]
fn a_frame_is_of_some_length() {
    let (mut host, mut client) = pair();
    client.sound(&mut host, Vec::new());
    client.sound(&mut host, vec![0; ROW_BYTES * 2 + 16]);
    client.sound(&mut host, vec![0; ROW_BYTES * 2]);
    quiet(&mut host, &mut client);
    let errors = client.events.iter().filter(|event| matches!(event, Event::Error { .. })).count();
    assert_eq!((errors, host.number("SELECT COUNT(*) FROM up")), (2, 1));
}
