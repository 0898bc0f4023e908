//! What a disturbed session is held against: the same one undisturbed.

use super::cell::Due;
use super::play::Played;
use super::stage::{TurnAccount, Units};
use crate::voice_provider::{self as provider, Called, Stage};
use std::collections::BTreeMap;

const TURNS: [&str; 2] = ["one", "two"];

/// What became of a client that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Resumed,
    /// It was told that its session is over.
    ToldExpired,
}

/// What is wrong, counted. A sound session has nothing here but excused calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub turns_lost: usize,
    pub turns_doubled: usize,
    pub bytes_missing: usize,
    pub bytes_doubled: usize,
    /// Calls of providers that nobody needed, and those that were made again because a call was lost.
    pub calls_extra: usize,
    pub calls_excused: usize,
    pub units_extra: u64,
    /// Everything else, in words.
    pub wrong: Vec<String>,
}

impl Found {
    pub fn is_sound(&self) -> bool {
        Self { calls_excused: 0, ..self.clone() } == Self::default()
    }

    pub fn add(&mut self, other: &Self) {
        self.turns_lost += other.turns_lost;
        self.turns_doubled += other.turns_doubled;
        self.bytes_missing += other.bytes_missing;
        self.bytes_doubled += other.bytes_doubled;
        self.calls_extra += other.calls_extra;
        self.calls_excused += other.calls_excused;
        self.units_extra += other.units_extra;
        self.wrong.extend(other.wrong.iter().cloned());
    }
}

/// Holds one against the other.
pub fn judge(calm: &Played, played: &Played, due: Due) -> (Outcome, Found) {
    let mut found = Found::default();
    let said_bye = played.account.why.as_deref() == Some("bye");
    let outcome = match played.heard.failed.as_deref() {
        None => Outcome::Resumed,
        // The server heard its goodbye, and it did not hear the answer.
        Some("expired") if said_bye => Outcome::Resumed,
        Some(reason) => {
            if reason != "expired" {
                found.wrong.push(format!("turned away: {reason}"));
            }
            Outcome::ToldExpired
        }
    };
    let is_due = match due {
        Due::Resumes => outcome == Outcome::Resumed,
        Due::Expires => outcome == Outcome::ToldExpired,
        Due::Either => true,
    };
    if !is_due {
        found.wrong.push(format!("{outcome:?} where it had to be that it {due:?}"));
    }
    if played.struck == 0 {
        found.wrong.push("the point was never reached".to_owned());
    }
    if played.heard.gaps > 0 {
        found.wrong.push("a gap".to_owned());
    }
    let whole = outcome == Outcome::Resumed;
    let ended = if whole { "bye" } else { "window" };
    if played.account.why.as_deref() != Some(ended) {
        found.wrong.push(format!("it ended for {:?}, not {ended}", played.account.why));
    }
    turns(calm, played, whole, &mut found);
    sound(calm, played, whole, &mut found);
    calls(calm, played, whole, &mut found);
    (outcome, found)
}

/// Characters of the sentences of a turn that were heard to their end.
fn arrived(calm: &Played, played: &Played, turn: &str) -> u64 {
    let mut left = played.heard.pcm_of(turn).len();
    let mut characters = 0;
    for sentence in calm.heard.transcripts(turn, "assistant") {
        let Some(rest) = left.checked_sub(provider::sound(sentence).len()) else { break };
        left = rest;
        characters += sentence.chars().count();
    }
    u64::try_from(characters).unwrap_or(u64::MAX)
}

fn count(turns: &[TurnAccount], name: &str) -> usize {
    turns.iter().filter(|turn| turn.turn == name).count()
}

fn turns(calm: &Played, played: &Played, whole: bool, found: &mut Found) {
    let (known, here) = (&calm.account.turns, &played.account.turns);
    for turn in here {
        let Some(same) = known.iter().find(|known| known.turn == turn.turn) else {
            found.wrong.push(format!("an unknown turn: {turn:?}"));
            continue;
        };
        let units = |turn: &TurnAccount| turn.units.unwrap_or_default();
        found.units_extra += units(turn).beyond(&units(same));
        if !whole && turn.state != "interrupted" {
            // What fell into the gap is not charged: only sentences whose sound arrived to its end. Of what its client
            // interrupted, all that was handed to speech is (decision 29).
            let characters = units(turn).characters;
            found.units_extra += characters.saturating_sub(arrived(calm, played, &turn.turn));
        }
        // Where a model's connection broke, its tokens are counted, and may be fewer than it would have reported.
        let is_same = if played.breaks > 0 {
            TurnAccount { units: None, ..turn.clone() } == TurnAccount { units: None, ..same.clone() }
        } else {
            turn == same
        };
        if whole && !is_same {
            found.wrong.push(format!("{turn:?}, and undisturbed {same:?}"));
        }
        if turn.user_text.is_some() && turn.user_text != same.user_text {
            found.wrong.push(format!("understood {:?}, undisturbed {:?}", turn.user_text, same.user_text));
        }
        if !whole && turn.units.is_some_and(|units| units == Units::default()) && turn.state == "done" {
            found.wrong.push(format!("{} was for nothing", turn.turn));
        }
    }
    for name in TURNS {
        let (due, is) = (count(known, name), count(here, name));
        found.turns_doubled += is.saturating_sub(due);
        if whole {
            found.turns_lost += due.saturating_sub(is);
        }
        for role in ["user", "assistant"] {
            let (due, is) = (calm.heard.transcripts(name, role), played.heard.transcripts(name, role));
            let fits = if whole { is == due } else { due.starts_with(&is) };
            if !fits {
                found.wrong.push(format!("{name}: {role} said {is:?}, undisturbed {due:?}"));
            }
        }
    }
}

fn sound(calm: &Played, played: &Played, whole: bool, found: &mut Found) {
    for name in TURNS {
        let (due, is) = (calm.heard.pcm_of(name), played.heard.pcm_of(name));
        let same = due.iter().zip(is).take_while(|(due, is)| due == is).count();
        // How far an interrupted one comes is nobody's promise; that it is a beginning of it is.
        let interrupted = calm.heard.was_interrupted(name);
        if whole && !interrupted {
            found.bytes_missing += due.len() - same;
        }
        if !interrupted || same < due.len().min(is.len()) {
            found.bytes_doubled += is.len() - same;
        }
    }
    let untouched: Vec<&str> = TURNS.into_iter().filter(|name| !calm.heard.was_interrupted(name)).collect();
    if whole && calm.heard.sha256(&untouched) != played.heard.sha256(&untouched) {
        found.wrong.push("the SHA-256 of the sound is another".to_owned());
    }
}

fn counted(calls: &[Called]) -> BTreeMap<(Stage, &str), usize> {
    let mut counted = BTreeMap::new();
    for call in calls {
        *counted.entry((call.stage, call.input.as_str())).or_default() += 1;
    }
    counted
}

fn calls(calm: &Played, played: &Played, whole: bool, found: &mut Found) {
    let (due, is) = (counted(&calm.calls), counted(&played.calls));
    let beyond: usize =
        is.iter().map(|(call, count)| count.saturating_sub(due.get(call).copied().unwrap_or(0))).sum();
    let missing = due.keys().any(|call| !is.contains_key(call));
    if whole && missing {
        found.wrong.push("a provider was not asked".to_owned());
    }
    // Each time that speech is lost, a sentence or what follows of it is asked for again.
    let excused = if played.account.retries > 0 || played.breaks > 0 { beyond } else { 0 };
    found.calls_excused += excused;
    found.calls_extra += beyond - excused;
}
