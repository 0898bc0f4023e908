//! One conversation, disturbed at every one of its steps in every way: what is heard is the same to the byte.

use super::client::{Client, quiet};
use super::host::{Host, WINDOW_MS, digest, settings};
use crate::voice::limits::DEAD_AFTER_MS;
use crate::voice::{Control, NotResumed, State};

/// How a step is disturbed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// The socket is closed, and both sides know.
    Closed,
    /// The client is gone; the actor hears of it when it comes back.
    Silent,
    /// The client's new socket is there before the old one's last messages are.
    Late,
    /// The actor is evicted, and its sockets hibernate.
    Evicted,
    /// The process dies, with all sockets.
    Killed,
    /// It dies between the next commit and what follows from it.
    HalfDone,
    ProviderLost,
}

const WAYS: [Way; 7] =
    [Way::Closed, Way::Silent, Way::Late, Way::Evicted, Way::Killed, Way::HalfDone, Way::ProviderLost];

struct Talk {
    host: Host,
    client: Client,
    turns: usize,
}

impl Talk {
    fn new() -> Self {
        let mut host = Host::new(settings(), 1_000_000_000);
        let client = Client::new(&mut host);
        Self { host, client, turns: 0 }
    }

    /// One thing happens, always the same one at the same place; false when there is nothing left to do.
    fn step(&mut self) -> bool {
        let Self { host, client, .. } = self;
        host.now_ms += 7;
        if let Some(line) = (0..host.lines.len()).find(|line| !host.lines[*line].down.is_empty()) {
            client.hear(host, line);
            return true;
        }
        if let Some(line) = (0..host.lines.len()).find(|line| !host.lines[*line].up.is_empty()) {
            host.deliver_up(line);
            return true;
        }
        if host.answer_tenant() || host.report() || (0..host.working.len()).any(|which| host.work(which)) {
            return true;
        }
        if client.welcomed && host.number("SELECT COUNT(*) FROM down") > 0 {
            client.ack(host);
            return true;
        }
        if !client.welcomed || self.turns == 2 {
            return false;
        }
        self.turns += 1;
        (0..2).for_each(|_| client.speak(host));
        client.commit(host);
        true
    }

    fn disturb(&mut self, way: Way) {
        let Self { host, client, .. } = self;
        match way {
            Way::Closed => {
                if let Some(line) = client.drop_line() {
                    host.lose_line(line);
                }
            }
            Way::Silent => {
                if let Some(line) = client.drop_line() {
                    host.lines[line].up.clear();
                }
            }
            Way::Late => drop(client.drop_line()),
            Way::Evicted => host.die(true),
            Way::Killed => host.die(false),
            Way::HalfDone => host.dies_next = true,
            Way::ProviderLost => host.break_provider(0),
        }
    }

    fn finish(&mut self, late: bool) {
        for _ in 0..6 {
            if self.client.line.is_none() && self.client.failed.is_none() {
                self.client.come_back(&mut self.host);
                if late {
                    let last = self.host.lines.len() - 1;
                    self.host.deliver_up(last);
                }
            }
            while self.step() {}
            quiet(&mut self.host, &mut self.client);
            self.host.wait(1_100);
        }
        self.host.dies_next = false;
    }

    /// What was heard, and what was paid.
    fn outcome(&mut self) -> (Vec<String>, Vec<u64>, Vec<i64>) {
        let turns = self.host.turns();
        assert!(turns.iter().all(|turn| turn.state == State::Done && !turn.gap), "{turns:?}");
        let heard = turns.iter().map(|turn| digest(&self.client.sound_of(&turn.turn))).collect();
        let used: Vec<_> = turns.iter().map(|turn| turn.used.expect("it was settled")).collect();
        let units =
            used.iter().flat_map(|used| [used.listened_ms, used.tokens_out, used.characters]).collect();
        (heard, units, used.iter().map(|used| used.costs.sum().0).collect())
    }
}

/// Disturbs the conversation at each step, in those ways that `ways` says of it.
fn disturbed(ways: impl Fn(usize) -> Vec<Way>) {
    let mut calm = Talk::new();
    let mut steps = 0;
    while calm.step() {
        steps += 1;
    }
    calm.finish(false);
    let expected = calm.outcome();
    assert_eq!(expected.0.len(), 2);
    assert!(steps > 100, "{steps}");
    let calls = calm.host.called.len();
    for at in 0..steps {
        for (n, way) in ways(at).into_iter().enumerate() {
            let mut talk = Talk::new();
            (0..at).for_each(|_| _ = talk.step());
            talk.disturb(way);
            // At once, some seconds later, or just before it is too late.
            let wait_ms = [0, 5_000, WINDOW_MS - 1_000][(at + n) % 3];
            if !talk.client.welcomed {
                talk.host.wait(wait_ms.min(DEAD_AFTER_MS - 1_000));
            }
            talk.finish(way == Way::Late);
            assert_eq!(talk.client.failed, None, "{way:?} at {at}");
            assert_eq!(talk.outcome(), expected, "{way:?} at {at}");
            let is_loss = matches!(way, Way::Evicted | Way::Killed | Way::HalfDone | Way::ProviderLost);
            assert!(is_loss || talk.host.called.len() == calls, "{way:?} at {at}: a call too many");
        }
    }
}

#[test]
fn the_same_is_heard_and_paid_wherever_a_conversation_is_disturbed() {
    disturbed(|at| vec![WAYS[at % WAYS.len()]]);
}

#[test]
#[ignore = "every way at every step takes minutes"]
fn the_same_is_heard_and_paid_however_a_conversation_is_disturbed() {
    disturbed(|_| WAYS.to_vec());
}

#[test]
fn who_comes_too_late_is_told_so_wherever_it_was() {
    for at in (0..100).step_by(3) {
        let mut talk = Talk::new();
        (0..at).for_each(|_| _ = talk.step());
        talk.disturb(Way::Closed);
        while talk.host.answer_tenant() {}
        talk.host.wait(WINDOW_MS + 1);
        talk.client.come_back(&mut talk.host);
        quiet(&mut talk.host, &mut talk.client);
        assert_eq!(talk.client.failed, Some(NotResumed::Expired), "{at}");
        talk.client.control(&mut talk.host, &Control::Bye);
        talk.host.settle_down();
        talk.host.wait(60_000);
        talk.host.settle_down();
        let tenant = &talk.host.tenant;
        assert_eq!(tenant.holds.len(), tenant.settled.len(), "{at}");
    }
}
