//! Notices, their deliveries, and the alarm.

use super::{MINUTE_MS, Model, NOTICE_HISTORY_MS, TOP_UP_AGAIN_MS};

const DELIVERIES_MAX: usize = 4;
const ATTEMPTS_MAX: u32 = 15;
const LEASE_MS: i64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeState {
    Recorded,
    Pending,
    Delivered,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    pub seq: i64,
    pub at_ms: i64,
    pub kind: &'static str,
    pub state: NoticeState,
    pub attempts: u32,
    pub next_at_ms: Option<i64>,
}

/// The least and the most that is waited after a failed attempt.
pub fn delivery_wait_ms(attempt: u32) -> (i64, i64) {
    let wait_ms = (10_000_i64 << attempt.saturating_sub(1).min(16)).min(21_600_000);
    (wait_ms, wait_ms + wait_ms / 4)
}

impl Model {
    pub(super) fn tell(&mut self, kind: &'static str, now_ms: i64) {
        let deliver = self.state.settings.webhook.is_some();
        let state = if deliver { NoticeState::Pending } else { NoticeState::Recorded };
        self.state.told += 1;
        let seq = self.state.told;
        let next_at_ms = deliver.then_some(now_ms);
        self.state.notices.push(Notice { seq, at_ms: now_ms, kind, state, attempts: 0, next_at_ms });
    }

    /// The deliveries of one alarm: the longest due first, a few at most.
    fn take_due(&mut self, now_ms: i64) {
        let hooked = self.state.settings.webhook.is_some();
        let pending = self.state.notices.iter_mut().filter(|notice| notice.state == NoticeState::Pending);
        if !hooked {
            pending.for_each(|notice| (notice.state, notice.next_at_ms) = (NoticeState::Recorded, None));
            return;
        }
        let mut due: Vec<_> =
            pending.filter(|notice| notice.next_at_ms.is_some_and(|at| at <= now_ms)).collect();
        due.sort_by_key(|notice| (notice.next_at_ms, notice.seq));
        // Attempts that nobody reports are attempts all the same.
        let (over, due): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|notice| notice.attempts >= ATTEMPTS_MAX);
        over.into_iter().for_each(|notice| (notice.state, notice.next_at_ms) = (NoticeState::Failed, None));
        for notice in due.into_iter().take(DELIVERIES_MAX) {
            notice.attempts += 1;
            notice.next_at_ms = Some(now_ms + LEASE_MS);
        }
    }

    /// How a delivery went. After a failure the next attempt's time is the rules' to choose, within bounds: the
    /// caller reads it and sets it here.
    pub fn note_attempt(&mut self, seq: i64, attempt: u32, delivered: bool) -> Option<&mut Notice> {
        let notice = self.state.notices.iter_mut().find(|notice| notice.seq == seq)?;
        if delivered {
            (notice.state, notice.next_at_ms) = (NoticeState::Delivered, None);
            return None;
        }
        if notice.state != NoticeState::Pending || notice.attempts != attempt {
            return None;
        }
        if attempt >= ATTEMPTS_MAX {
            (notice.state, notice.next_at_ms) = (NoticeState::Failed, None);
            return None;
        }
        Some(notice)
    }

    pub(super) fn ring(&mut self, now_ms: i64) {
        self.expire_grants(now_ms);
        self.expire_holds(now_ms);
        self.ring_jobs(now_ms);
        self.watch_balance(now_ms);
        self.state.holds.retain(|hold| hold.end.is_none() || hold.forget_at_ms > now_ms);
        self.state.keys.retain(|row| row.expires_at_ms > now_ms);
        self.state.notices.retain(|notice| notice.at_ms > now_ms - NOTICE_HISTORY_MS);
        self.take_due(now_ms);
    }

    /// When something happens by itself: a hold ends, a grant ends, a delivery is tried, a top-up is asked for, a job is due.
    /// The alarm is always set for it; what is only forgotten may wait for the next one.
    pub fn happens_at_ms(&self) -> Option<i64> {
        let state = &self.state;
        let deadline = state.open_holds().map(|hold| hold.deadline_ms).min();
        let expiry = state.grants.iter().filter(|grant| grant.left > 0).filter_map(|g| g.expires_at_ms).min();
        let delivery = state.notices.iter().filter_map(|notice| notice.next_at_ms).min();
        let top_up = state.top_up.map(|(at_ms, _)| at_ms + TOP_UP_AGAIN_MS);
        let job = state.jobs.iter().filter_map(|job| job.due_at_ms).min();
        [deadline, expiry, delivery, top_up, job].into_iter().flatten().min()
    }

    /// When an alarm that rings now, or an actor that wakes, wants to be rung.
    pub fn due_at_ms(&self) -> Option<i64> {
        let state = &self.state;
        let ended = state.holds.iter().filter(|hold| hold.end.is_some()).map(|hold| hold.forget_at_ms).min();
        let keys = state.keys.iter().map(|row| row.expires_at_ms).min();
        let old = state.notices.first().map(|notice| notice.at_ms + NOTICE_HISTORY_MS);
        [self.happens_at_ms(), ended.map(batched), keys.map(batched), old.map(batched)]
            .into_iter()
            .flatten()
            .min()
    }
}

/// What is only forgotten waits for the next whole minute.
pub(super) const fn batched(at_ms: i64) -> i64 {
    (at_ms + MINUTE_MS).div_euclid(MINUTE_MS) * MINUTE_MS
}
