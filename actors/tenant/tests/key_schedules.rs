//! Whatever happens around a key, it is charged at most once, and from then on gives the same reply.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Credit enough, and no budget.
fn generous() -> Policy {
    Policy { guest_grant: Micro(1_000_000), guest_grant_ttl_ms: GUEST_GRANT_TTL_MS, ..Policy::default() }
}

#[derive(Debug, Clone)]
enum Step {
    /// A request with one of three keys and one of two bodies.
    Ask(u8, u8),
    /// The work of the n-th admitted request ends, with a charge or without one.
    Settle(usize),
    Release(usize),
    /// The work of the n-th goes on, and is charged for a part.
    Progress(usize),
    /// Time passes, and the alarm rings or is late.
    Wait(i64, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u8..3, 0_u8..2).prop_map(|(key, body)| Step::Ask(key, body)),
        3 => (0_usize..12).prop_map(Step::Settle),
        2 => (0_usize..12).prop_map(Step::Release),
        1 => (0_usize..12).prop_map(Step::Progress),
        2 => (0_i64..1_500, any::<bool>()).prop_map(|(ms, rings)| Step::Wait(ms, rings)),
    ];
    prop::collection::vec(step, 1..80)
}

struct Asked {
    hold: String,
    key: Idempotency,
    open: bool,
    deadline_ms: i64,
    /// It was charged in part.
    part: bool,
}

struct World {
    shell: Shell,
    now_ms: i64,
    asked: Vec<Asked>,
    /// Body and reply of each key that was answered.
    answered: HashMap<String, (String, String)>,
    settled: i64,
}

impl World {
    fn new() -> Self {
        let (mut sql, policy) = (Sqlite::in_memory().unwrap(), generous());
        let actor = sql.transaction(|sql| open(sql, &guest(), &policy, NOW_MS)).unwrap();
        let shell = Shell { sql, actor, policy };
        Self { shell, now_ms: NOW_MS, asked: Vec::new(), answered: HashMap::new(), settled: 0 }
    }

    fn run(&mut self, command: Command) -> Result<Reply, Refusal> {
        self.shell.run(command, self.now_ms).map(|outcome| outcome.reply)
    }

    fn ask(&mut self, key: u8, body: u8) {
        let key = Idempotency { key: format!("k{key}"), body_hash: format!("b{body}") };
        let hold = format!("h{}", self.asked.len());
        let answer = self.run(admit(&hold, 1_000, Some(key.clone())));
        match (self.answered.get(&key.key), answer) {
            (Some((body, reply)), Ok(Reply::Replay(stored))) => {
                assert_eq!((body, reply.as_str()), (&key.body_hash, stored.reply.get()));
            }
            (Some((body, _)), Err(Refusal::IdempotencyConflict)) => assert_ne!(body, &key.body_hash),
            (Some(_), other) => panic!("an answered key ran again: {other:?}"),
            (None, Ok(Reply::Admitted(admitted))) => {
                let (open, part, deadline_ms) = (true, false, admitted.deadline_ms);
                self.asked.push(Asked { hold, key, open, deadline_ms, part });
            }
            (None, Err(Refusal::IdempotencyInProgress | Refusal::IdempotencyConflict)) => {}
            (None, other) => panic!("{other:?}"),
        }
    }

    /// The n-th hold ends with a charge.
    fn charge(&mut self, n: usize, reply: &str) {
        let Asked { key, .. } = &self.asked[n];
        let before = self.answered.insert(key.key.clone(), (key.body_hash.clone(), reply.to_owned()));
        assert!(before.is_none(), "{} was charged twice", key.key);
    }

    fn settle(&mut self, n: usize) {
        let Some(Asked { hold, .. }) = self.asked.get(n) else { return };
        let (hold, reply) = (hold.clone(), format!("\"reply of {hold}\""));
        let ended = self.run(settle(&hold, 700));
        let Ok(Reply::Ended(ended)) = ended else { panic!("{ended:?}") };
        if ended.first {
            assert_eq!(ended.end, HoldEnd::Settled);
            self.settled += if self.asked[n].part { 400 } else { 700 };
            self.asked[n].open = false;
            self.charge(n, &reply);
            return;
        }
        let Asked { hold, key, .. } = &self.asked[n];
        let newest = self.asked.iter().rev().find(|asked| asked.key.key == key.key);
        let owns = newest.is_some_and(|asked| asked.hold == *hold);
        let lost = |known: &(String, String)| known.1 == "null";
        let known = self.answered.get(&key.key);
        // Late: the client has this answer, so its key gives it again, at the house's cost. A request that was
        // released for nothing has lost its key; one that was charged in part waits for its reply.
        if owns && known.map_or(ended.end == HoldEnd::Expired, lost) && ended.end != HoldEnd::Settled {
            self.answered.insert(key.key.clone(), (key.body_hash.clone(), reply));
        }
    }

    fn progress(&mut self, n: usize) {
        let Some(Asked { hold, .. }) = self.asked.get(n) else { return };
        let reply = self.run(progress(&hold.clone(), 300, 0, Usage::default())).unwrap();
        let Reply::Progressed(progressed) = reply else { return };
        self.settled += if self.asked[n].part { 0 } else { 300 };
        self.asked[n].part = true;
        self.asked[n].deadline_ms = progressed.deadline_ms;
    }

    /// The n-th hold ended without a further charge. What was charged in part stays charged.
    fn ended(&mut self, n: usize) {
        self.asked[n].open = false;
        if self.asked[n].part {
            self.charge(n, "null");
        }
    }

    fn release(&mut self, n: usize) {
        let Some(Asked { hold, .. }) = self.asked.get(n) else { return };
        let released = self.run(Command::Release { hold: hold.clone() });
        let Ok(Reply::Ended(ended)) = released else { panic!("{released:?}") };
        if ended.first {
            self.ended(n);
        }
    }

    fn ring(&mut self) {
        self.shell.ring(self.now_ms);
        for n in 0..self.asked.len() {
            if self.asked[n].open && self.asked[n].deadline_ms <= self.now_ms {
                self.ended(n);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_key_is_charged_at_most_once(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Ask(key, body) => world.ask(key, body),
                Step::Settle(n) => world.settle(n),
                Step::Release(n) => world.release(n),
                Step::Progress(n) => world.progress(n),
                Step::Wait(ms, rings) => {
                    world.now_ms += ms;
                    if rings {
                        world.ring();
                    }
                }
            }
        }
        let Ok(Reply::Balance(account)) = world.run(Command::Balance) else { panic!("no balance") };
        prop_assert_eq!(account.settled.0, world.settled);
    }
}
