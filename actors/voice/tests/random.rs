//! Whatever is lost, in whatever order: nothing is said or heard twice or not at all, and nothing is charged but once.

use proptest::prelude::*;

use super::client::{Client, quiet};
use super::host::{Host, answer, digest, settings, sound, understood};
use crate::voice::limits::{ASK_AGAIN_MS_MAX, RETENTION_MS, close};
use crate::voice::{Stage, State};

/// How long everything takes its course at a time, when the storm is over.
const CALM_MS: i64 = 1_100;

/// What happens next; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Speak(u8),
    Commit,
    Interrupt {
        turn: u8,
        played_ms: u32,
    },
    Repeat,
    Ack,
    Up(u8),
    Down(u8),
    /// The client's socket is gone; the actor hears of it at once, or when it looks.
    Drop {
        noticed: bool,
    },
    ComeBack,
    /// A second socket, while the client's first is open.
    TakeOver,
    /// Memory is lost, with the sockets or without.
    Evict {
        keeps_sockets: bool,
    },
    /// The host dies between a commit and what should follow it.
    DieAfterNext,
    Work(u8),
    BreakProvider(u8),
    Report,
    Answer,
    /// An answer of the tenant's is lost.
    LoseAnswer,
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..6_u8).prop_map(Step::Speak),
        4 => Just(Step::Commit),
        1 => (any::<u8>(), 0..4_000_u32).prop_map(|(turn, played_ms)| Step::Interrupt { turn, played_ms }),
        1 => Just(Step::Repeat),
        4 => Just(Step::Ack),
        14 => any::<u8>().prop_map(Step::Up),
        12 => any::<u8>().prop_map(Step::Down),
        2 => any::<bool>().prop_map(|noticed| Step::Drop { noticed }),
        4 => Just(Step::ComeBack),
        1 => Just(Step::TakeOver),
        1 => any::<bool>().prop_map(|keeps_sockets| Step::Evict { keeps_sockets }),
        1 => Just(Step::DieAfterNext),
        16 => (any::<u8>()).prop_map(Step::Work),
        1 => any::<u8>().prop_map(Step::BreakProvider),
        2 => Just(Step::Report),
        5 => Just(Step::Answer),
        1 => Just(Step::LoseAnswer),
        4 => prop_oneof![1..400_i64, 300..4_000_i64].prop_map(Step::Wait),
    ]
}

struct World {
    host: Host,
    client: Client,
    interrupted: Vec<String>,
}

impl World {
    fn new(micro: i64) -> Self {
        let mut host = Host::new(settings(), micro);
        let client = Client::new(&mut host);
        Self { host, client, interrupted: Vec::new() }
    }

    fn line(&self, at: u8) -> usize {
        usize::from(at) % self.host.lines.len()
    }

    fn carry_out(&mut self, step: Step) {
        let Self { host, client, .. } = self;
        match step {
            Step::Speak(frames) => (0..frames).for_each(|_| client.speak(host)),
            Step::Commit => client.commit(host),
            Step::Interrupt { turn, played_ms } => {
                if !client.said.is_empty() {
                    let id = client.said[usize::from(turn) % client.said.len()].id.clone();
                    client.interrupt(host, &id, played_ms);
                    self.interrupted.push(id);
                }
            }
            Step::Repeat => client.repeat(host),
            Step::Ack => client.ack(host),
            Step::Up(at) => {
                let line = self.line(at);
                (0..3).for_each(|_| self.host.deliver_up(line));
            }
            Step::Down(at) => {
                let line = self.line(at);
                (0..6).for_each(|_| _ = self.client.hear(&mut self.host, line));
            }
            Step::Drop { noticed } => {
                // Where it is not noticed, what was on its way may still arrive, later than what comes after.
                if let Some(line) = client.drop_line().filter(|_| noticed) {
                    host.lose_line(line);
                }
            }
            Step::ComeBack => {
                if client.line.is_none() && client.failed.is_none() && client.over.is_none() {
                    client.come_back(host);
                }
            }
            Step::TakeOver => {
                if client.failed.is_none() && client.over.is_none() {
                    client.drop_line();
                    client.come_back(host);
                }
            }
            Step::Evict { keeps_sockets } => host.die(keeps_sockets),
            Step::DieAfterNext => host.dies_next = true,
            Step::Work(which) => drop((0..4).any(|_| !host.work(usize::from(which)))),
            Step::BreakProvider(which) => host.break_provider(usize::from(which)),
            Step::Report => drop(host.report()),
            Step::Answer => drop(host.answer_tenant()),
            Step::LoseAnswer => {
                if let Some(ask) = host.asks.pop_front() {
                    host.tenant.answers(&ask);
                }
            }
            Step::Wait(ms) => host.wait(ms),
        }
    }

    /// What holds at every moment, by queries of this test's own.
    fn check(&mut self) {
        let Self { host, .. } = self;
        let state = |field: &str| format!("(SELECT state ->> '$.{field}' FROM session)");
        let wrong = [
            // The ring is what was numbered and not acknowledged, without a hole; and its sums are true.
            format!(
                "SELECT {} - 1 - {} - (SELECT COUNT(*) FROM down)",
                state("down_next"),
                state("down_acked")
            ),
            format!("SELECT {} - (SELECT COALESCE(SUM(samples), 0) FROM down)", state("ring_samples")),
            format!("SELECT {} - 2 * (SELECT COALESCE(SUM(samples), 0) FROM down)", state("ring_bytes")),
            format!("SELECT {} - (SELECT COUNT(*) FROM down)", state("ring_rows")),
            "SELECT MAX(0, (SELECT COALESCE(SUM(samples), 0) FROM down) - 240000)".to_owned(),
            // One turn is worked on at a time, and nothing is asked without a hold.
            "SELECT MAX(0, COUNT(*) - 1) FROM turns WHERE state IN ('stt', 'thinking', 'speaking')"
                .to_owned(),
            "SELECT COUNT(*) FROM provider_calls AS c JOIN holds AS h ON h.turn = c.turn
               WHERE h.state IN ('asked', 'refused')"
                .to_owned(),
            "SELECT COUNT(*) FROM provider_calls AS c JOIN turns AS t ON t.n = c.turn
               WHERE c.state = 'running' AND t.state IN ('done', 'interrupted', 'failed')"
                .to_owned(),
        ];
        let over = host.number("SELECT (state ->> '$.ended_at_ms') IS NOT NULL FROM session") == 1;
        for (at, query) in wrong.iter().enumerate() {
            assert!((over && at == 0) || host.number(query) == 0, "{query}");
        }
        // What a new answer needs of speech is looked at in the end.
        let again = host.called.iter().filter(|call| call.attempt > 1 && call.stage != Stage::Tts).count();
        assert!(again <= host.excused.len(), "calls were made again without a reason");
    }

    /// What was said and heard is what would have been without all that.
    fn compare(&mut self) {
        let turns = self.host.turns();
        let expired = self.client.failed.is_some() || self.client.over.is_some();
        let whole: Vec<_> =
            self.client.said.iter().filter(|said| !self.interrupted.contains(&said.id)).collect();
        for said in &whole {
            let of = turns.iter().filter(|turn| turn.turn == said.id).count();
            assert!(of == 1 || (expired && of == 0), "{} is there {of} times", said.id);
        }
        assert!(turns.len() <= self.client.said.len(), "a turn that nobody said");
        for turn in &turns {
            let said = self.client.said.iter().find(|said| said.id == turn.turn).expect("said by the client");
            if let Some(text) = &turn.user_text {
                assert_eq!(*text, understood(&said.pcm), "{}: sound was lost or doubled upwards", turn.turn);
            }
            let all: Vec<u8> = turn.user_text.as_ref().map(|text| spoken(&answer(text))).unwrap_or_default();
            let heard = self.client.sound_of(&turn.turn);
            let is_prefix = all.starts_with(&heard);
            assert!(
                is_prefix || turn.state == State::Interrupted,
                "{}: sound was lost or doubled",
                turn.turn
            );
            let calm = turn.state == State::Done && !turn.gap && !expired;
            if calm && turn.code.is_none() {
                assert_eq!(digest(&heard), digest(&all), "{}: not all was heard", turn.turn);
                let text = turn.user_text.clone().unwrap();
                assert_eq!(turn.heard, answer(&text));
            }
            let Some(used) = turn.used else { continue };
            let listened_ms = u64::try_from(said.pcm.len() / 16).unwrap();
            assert!(used.listened_ms == listened_ms || (used.listened_ms == 0 && turn.user_text.is_none()));
            let answered = turn.user_text.as_deref().map(answer).unwrap_or_default();
            let characters = u64::try_from(answered.chars().count()).unwrap();
            assert!(used.characters <= characters, "{}: {used:?} of {characters}", turn.turn);
            if calm && turn.code.is_none() {
                assert_eq!((used.characters, used.tokens_in, used.tokens_out), (characters, 20, 30));
            }
            if turn.state != State::Interrupted {
                // Only whole sentences that arrived are charged.
                let mut left = heard.len();
                let paid: u64 = parts(&answered)
                    .iter()
                    .take_while(|part| {
                        let whole = sound(part).len();
                        let arrived = left >= whole;
                        left = left.saturating_sub(whole);
                        arrived
                    })
                    .map(|part| u64::try_from(part.chars().count()).unwrap())
                    .sum();
                assert!(used.characters <= paid, "{}: what fell into a gap was charged", turn.turn);
            }
        }
    }

    /// Nothing is open at the tenant, and what was charged is what the turns say.
    fn balance(&mut self) {
        let tenant = &self.host.tenant;
        assert_eq!(tenant.holds.keys().collect::<Vec<_>>(), tenant.settled.keys().collect::<Vec<_>>());
        let charged: i64 = tenant.settled.values().map(|(charge, _)| charge.0).sum();
        let attached_ms: i64 = tenant.settled.values().map(|(_, used)| used.attached_ms).sum();
        let view = self.host.view();
        assert_eq!(charged, view.charged_micro.0);
        assert!(attached_ms <= view.attached_ms, "{attached_ms} of {}", view.attached_ms);
        assert_eq!(view.held_micro.0, 0);
    }
}

/// An answer's sentences as they are handed to speech, and all of their sound.
fn parts(answer: &str) -> Vec<String> {
    let ends: Vec<usize> = answer.match_indices(". ").map(|(at, _)| at + 2).chain([answer.len()]).collect();
    let begins = [0].into_iter().chain(ends.clone());
    begins.zip(ends).map(|(from, to)| answer[from..to].to_owned()).filter(|part| !part.is_empty()).collect()
}

fn spoken(answer: &str) -> Vec<u8> {
    parts(answer).iter().flat_map(|part| sound(part)).collect()
}

fn run(steps: Vec<Step>, micro: i64) {
    let mut world = World::new(micro);
    for step in steps {
        world.carry_out(step);
        world.check();
    }
    // The storm is over: the client comes back, if it still may, and everything takes its course.
    world.host.dies_next = false;
    // A tenant whose answers were lost often is asked again only after the longest wait, and its turn begins then.
    for _ in 0..=ASK_AGAIN_MS_MAX / CALM_MS + 10 {
        quiet(&mut world.host, &mut world.client);
        let Client { line, failed, over, .. } = &world.client;
        if line.is_none() && failed.is_none() && over.is_none() {
            world.client.come_back(&mut world.host);
        }
        world.host.wait(CALM_MS);
        world.check();
    }
    quiet(&mut world.host, &mut world.client);
    world.compare();
    assert!(!world.client.closed.contains(&close::GAP), "a gap in the sequence");
    let orderly = world.client.failed.is_some() || world.client.over.is_some();
    if !orderly {
        let turns = world.host.turns();
        assert!(turns.iter().all(|turn| turn.state.is_final()), "{turns:?}");
        // Turns were settled when they were over, not with the session.
        assert!(turns.iter().all(|turn| turn.used.is_some() || turn.state == State::Failed), "{turns:?}");
    }
    world.client.control(&mut world.host, &crate::voice::Control::Bye);
    quiet(&mut world.host, &mut world.client);
    for _ in 0..20 {
        world.host.wait(60_000);
        world.host.settle_down();
    }
    world.compare();
    world.balance();
    // At most one call of each stage, but for those that were lost.
    for call in &world.host.called {
        let before = |attempt: i64| crate::voice::CallId { attempt, ..*call };
        // A new answer needs new speech.
        let excused = |attempt: i64| world.host.excused.contains(&before(attempt));
        let fresh_answer = call.stage == Stage::Tts
            && world.host.excused.iter().any(|lost| lost.turn == call.turn && lost.stage == Stage::Llm);
        assert!(call.attempt == 1 || excused(call.attempt - 1) || fresh_answer, "{call:?} without a reason");
    }
    world.host.wait(RETENTION_MS);
    assert!(world.host.forgotten);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_doubled_or_charged_twice(steps in prop::collection::vec(step(), 1..220)) {
        run(steps, 1_000_000_000);
    }

    #[test]
    fn nothing_is_spent_beyond_what_is_held(steps in prop::collection::vec(step(), 1..160), micro in 0..9_000_000_i64) {
        run(steps, micro);
    }
}
