//! Which skills have an experiment, as this isolate knows it: an ask of any other skill makes no hop to find out.
//!
//! One actor has the list, and it is read again when it is older than `EXPERIMENTS_TTL_MS`: so long may it take until
//! every isolate has heard of a new experiment. While one request reads it the others go by what was known, and where
//! it cannot be read, asks go on without experiments: no answer waits for one.

use std::cell::RefCell;
use std::collections::BTreeSet;

use actors::experiment::directory::{Entry, Listed};

use crate::platform::tenant_stub::Origin;
use crate::platform::{experiment_stub, now_ms, timer};

/// How long a look at the list may take.
const LOOK_MS_MAX: i64 = 1_000;
/// After a look that failed, how long none is made.
const RETRY_MS: i64 = 1_000;

#[derive(Default)]
struct Known {
    skills: BTreeSet<String>,
    version: i64,
    /// When the list was read; `None` when it never was.
    read_at_ms: Option<i64>,
    /// Nobody looks before: somebody is looking, or the last look failed.
    looked_for_until_ms: i64,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

impl Known {
    /// Whether the request that asks now is to read the list.
    fn wants(&mut self, ttl_ms: i64, now_ms: i64) -> bool {
        // A clock that stepped back makes what was read older, not younger.
        let is_fresh =
            self.read_at_ms.is_some_and(|at_ms| (0..ttl_ms).contains(&now_ms.saturating_sub(at_ms)));
        let wait_ms = self.looked_for_until_ms.saturating_sub(now_ms);
        // Before it was ever read there is nothing to go by, so each looks for itself, unless it just failed.
        let another_looks = (1..=LOOK_MS_MAX).contains(&wait_ms);
        if is_fresh || another_looks {
            return false;
        }
        if self.read_at_ms.is_some() {
            self.looked_for_until_ms = now_ms.saturating_add(LOOK_MS_MAX);
        }
        true
    }

    /// Two answers may come in another order than they were given in: the older list changes nothing.
    fn learn(&mut self, listed: Listed, now_ms: i64) {
        if listed.version >= self.version {
            self.skills = listed.skills.into_iter().collect();
            self.version = listed.version;
        }
        self.read_at_ms = Some(now_ms);
        self.looked_for_until_ms = 0;
    }

    fn failed(&mut self, now_ms: i64) {
        self.looked_for_until_ms = now_ms.saturating_add(RETRY_MS);
    }
}

/// Whether `skill` has an experiment, as far as is known here.
pub async fn has(origin: Origin<'_>, skill: &str, ttl_ms: i64) -> bool {
    if KNOWN.with_borrow_mut(|known| known.wants(ttl_ms, now_ms())) {
        let look = experiment_stub::directory(origin, Entry::List);
        match timer::within(LOOK_MS_MAX, look).await {
            Ok(Ok(listed)) => learn(listed),
            Ok(Err(_)) | Err(_) => KNOWN.with_borrow_mut(|known| known.failed(now_ms())),
        }
    }
    KNOWN.with_borrow(|known| known.skills.contains(skill))
}

/// The list as somebody was told it just now.
pub fn learn(listed: Listed) {
    KNOWN.with_borrow_mut(|known| known.learn(listed, now_ms()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;
    const TTL_MS: i64 = 30_000;

    fn listed(version: i64, skills: &[&str]) -> Listed {
        Listed { version, skills: skills.iter().map(|skill| (*skill).to_owned()).collect() }
    }

    #[test]
    fn an_older_list_that_comes_later_changes_nothing() {
        let mut known = Known::default();
        known.learn(listed(2, &["a", "b"]), NOW_MS);
        known.learn(listed(1, &["a"]), NOW_MS + 1);
        assert!(known.skills.contains("b"));
        known.learn(listed(3, &["b"]), NOW_MS + 2);
        assert!(!known.skills.contains("a"));
    }

    #[test]
    fn it_is_read_when_it_is_old_and_by_one_request() {
        let mut known = Known::default();
        assert!(known.wants(TTL_MS, NOW_MS) && known.wants(TTL_MS, NOW_MS), "there is nothing to go by");
        known.learn(listed(1, &["a"]), NOW_MS);
        assert!(!known.wants(TTL_MS, NOW_MS) && !known.wants(TTL_MS, NOW_MS + TTL_MS - 1));
        assert!(known.wants(TTL_MS, NOW_MS + TTL_MS));
        assert!(!known.wants(TTL_MS, NOW_MS + TTL_MS + 1), "one looks already");
        assert!(known.skills.contains("a"), "and the others go by what was known");
        // Of a request whose client went away nothing is heard any more.
        assert!(known.wants(TTL_MS, NOW_MS + TTL_MS + LOOK_MS_MAX));
        assert!(known.wants(TTL_MS, NOW_MS - 5), "the clock stepped back");
    }

    #[test]
    fn after_a_look_that_failed_none_is_made_for_a_while() {
        let mut known = Known::default();
        known.failed(NOW_MS);
        assert!(!known.wants(TTL_MS, NOW_MS + RETRY_MS - 1));
        assert!(known.wants(TTL_MS, NOW_MS + RETRY_MS));
    }

    #[test]
    fn with_no_time_to_live_it_is_read_each_time() {
        let mut known = Known::default();
        known.learn(listed(0, &[]), NOW_MS);
        assert!(known.wants(0, NOW_MS));
    }
}
