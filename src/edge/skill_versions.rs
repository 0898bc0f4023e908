//! Versions of skills that need not be the current ones, as this isolate has read them: an arm of an experiment answers
//! by one.
//!
//! A version is never changed once it is stored, so a copy of it is never old. It is read once, and again only after it
//! made room for others. Each waits for its own read, because no two requests may share a promise.

use std::cell::RefCell;
use std::rc::Rc;

use actors::catalog::{Command, GENERAL, Reply, SkillTerms};
use actors::shared::Refusal;

use super::catalog::Skill;
use crate::platform::tenant_stub::Origin;
use crate::platform::{catalog_stub, log, now_ms, timer};

/// How long a read may take, in milliseconds.
const READ_MS_MAX: i64 = 1_000;
/// After a read that failed, asks go on without one for so long before the next is made.
const READ_RETRY_MS: i64 = 1_000;
/// Copies at one time, and their bytes together: as many as the current skills may have.
const COPIES_MAX: usize = 128;
const COPIES_BYTES_MAX: usize = 1_048_576;

struct Kept {
    skill: Rc<Skill>,
    bytes: usize,
}

/// In the order of their use, the latest last.
#[derive(Default)]
struct Copies {
    kept: Vec<Kept>,
    failed_at_ms: Option<i64>,
}

impl Copies {
    fn find(&mut self, name: &str, version: i64) -> Option<Rc<Skill>> {
        let is_it = |kept: &Kept| kept.skill.version == version && kept.skill.name == name;
        let at = self.kept.iter().position(is_it)?;
        let found = self.kept.remove(at);
        let skill = Rc::clone(&found.skill);
        self.kept.push(found);
        Some(skill)
    }

    /// What was not used for longest makes room.
    fn keep(&mut self, skill: &Rc<Skill>) {
        if self.find(&skill.name, skill.version).is_none() {
            self.kept.push(Kept { skill: Rc::clone(skill), bytes: bytes_of(skill) });
        }
        while self.kept.len() > 1 && (self.kept.len() > COPIES_MAX || self.bytes() > COPIES_BYTES_MAX) {
            self.kept.remove(0);
        }
    }

    fn bytes(&self) -> usize {
        self.kept.iter().fold(0, |sum, kept| sum.saturating_add(kept.bytes))
    }

    /// Whether a read failed a moment ago.
    fn just_failed(&self, now_ms: i64) -> bool {
        self.failed_at_ms.is_some_and(|at_ms| (0..READ_RETRY_MS).contains(&now_ms.saturating_sub(at_ms)))
    }
}

/// All the text of it, and what stands around it.
fn bytes_of(skill: &Skill) -> usize {
    const AROUND: usize = 256;
    let SkillTerms { description, system, models, providers, .. } = &skill.terms;
    let names = models.iter().chain(providers).fold(AROUND, |sum, name| sum.saturating_add(name.len()));
    [&skill.name, description, system].into_iter().fold(names, |sum, text| sum.saturating_add(text.len()))
}

thread_local! {
    static COPIES: RefCell<Copies> = RefCell::default();
}

/// That version of a skill, which may be gone or have another one after it since.
///
/// # Errors
/// `UnknownVersion` where there is none, or where it says that the skill is gone; `Storage` when it cannot be read.
pub async fn of(origin: Origin<'_>, name: &str, version: i64) -> Result<Rc<Skill>, Refusal> {
    if let Some(skill) = COPIES.with_borrow_mut(|copies| copies.find(name, version)) {
        return Ok(skill);
    }
    if name == GENERAL && version == 0 {
        return Ok(Rc::new(Skill { name: name.to_owned(), version, terms: SkillTerms::built_in() }));
    }
    let command = Command::Skill { name: name.to_owned(), version: Some(version) };
    let stored = match timer::within(READ_MS_MAX, catalog_stub::send(origin, &command)).await {
        Ok(Ok(Reply::Skill(stored))) => stored,
        Ok(Err(refusal)) => return Err(refusal),
        Ok(Ok(_)) | Err(_) => {
            let detail = "no answer in time, or another than was asked for";
            log::fault_of(origin.request_id, "catalog_unreachable", detail);
            return Err(Refusal::Storage { detail: format!("catalog actor: {detail}") });
        }
    };
    let terms = stored.terms.ok_or(Refusal::UnknownVersion)?;
    let skill = Rc::new(Skill { name: stored.name, version, terms });
    COPIES.with_borrow_mut(|copies| copies.keep(&skill));
    Ok(skill)
}

/// The same for an ask, which goes on without it: `None` where it is not to be had, and nothing is waited for where it
/// was not a moment ago.
pub async fn at_hand(origin: Origin<'_>, name: &str, version: i64) -> Option<Rc<Skill>> {
    let known = COPIES.with_borrow_mut(|copies| copies.find(name, version));
    if known.is_some() || COPIES.with_borrow(|copies| copies.just_failed(now_ms())) {
        return known;
    }
    match of(origin, name, version).await {
        Ok(skill) => Some(skill),
        Err(_was_logged_where_it_is_a_fault) => {
            COPIES.with_borrow_mut(|copies| copies.failed_at_ms = Some(now_ms()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn skill(version: i64, system_bytes: usize) -> Rc<Skill> {
        let terms = SkillTerms { system: "x".repeat(system_bytes), ..SkillTerms::default() };
        Rc::new(Skill { name: "s".to_owned(), version, terms })
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let mut copies = Copies::default();
        for version in 1..=128 {
            copies.keep(&skill(version, 10));
        }
        assert!(copies.find("s", 1).is_some());
        copies.keep(&skill(129, 10));
        assert!(copies.find("s", 2).is_none() && copies.find("s", 1).is_some());
        assert!(copies.find("t", 1).is_none(), "another skill's");
    }

    #[test]
    fn after_a_read_that_failed_none_is_made_for_a_while() {
        let copies = Copies { failed_at_ms: Some(5_000), ..Copies::default() };
        assert!(copies.just_failed(5_000) && copies.just_failed(5_999));
        assert!(!copies.just_failed(6_000) && !copies.just_failed(4_999), "or the clock stepped back");
    }

    proptest! {
        #[test]
        fn the_copies_are_bounded_and_the_latest_is_there(
            versions in prop::collection::vec((1_i64..200, 0_usize..16_384), 1..400),
        ) {
            let mut copies = Copies::default();
            for (version, bytes) in versions {
                copies.keep(&skill(version, bytes));
                prop_assert!(copies.kept.len() <= COPIES_MAX && copies.bytes() <= COPIES_BYTES_MAX);
                prop_assert!(copies.find("s", version).is_some());
            }
        }
    }
}
