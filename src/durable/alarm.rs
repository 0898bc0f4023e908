//! What an actor's instance knows of its alarm. Only the runtime knows for sure, so knowing nothing is always safe.

/// How late an alarm may be before it is looked at anew.
const OVERDUE_MS: i64 = 60_000;

/// When the alarm is set for, and when it ought to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Alarm {
    armed_at_ms: Option<i64>,
    /// It could not be set for this time when it had to be.
    owed_at_ms: Option<i64>,
}

impl Alarm {
    /// When to set it for, so that it rings at `at_ms` or before and misses nothing that is owed; `None` when it is set
    /// so. Deadlines mostly come in order, so mostly it is.
    pub fn wants(self, at_ms: i64) -> Option<i64> {
        let at_ms = self.owed_at_ms.map_or(at_ms, |owed_ms| owed_ms.min(at_ms));
        let armed = self.armed_at_ms.is_some_and(|armed_ms| armed_ms <= at_ms);
        (!armed).then_some(at_ms)
    }

    /// It is set for `at_ms`, as [`Alarm::wants`] said.
    pub fn armed(&mut self, at_ms: i64) {
        *self = Self { armed_at_ms: Some(at_ms), owed_at_ms: None };
    }

    /// It could not be set for `at_ms`. When it rings at all is not known any more.
    pub fn owes(&mut self, at_ms: i64) {
        let owed_at_ms = self.owed_at_ms.map_or(at_ms, |owed_ms| owed_ms.min(at_ms));
        *self = Self { armed_at_ms: None, owed_at_ms: Some(owed_at_ms) };
    }

    /// Whether it should have rung long ago. The runtime gives up an alarm that failed some times, and tells nobody.
    pub fn is_overdue(self, now_ms: i64) -> bool {
        self.armed_at_ms.is_some_and(|armed_ms| armed_ms.saturating_add(OVERDUE_MS) < now_ms)
    }

    /// When it should have been set for.
    pub const fn owed(self) -> Option<i64> {
        self.owed_at_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_deadline_sets_nothing_and_an_earlier_one_does() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.wants(10), Some(10));
        alarm.armed(10);
        assert_eq!((alarm.wants(10), alarm.wants(11), alarm.wants(9)), (None, None, Some(9)));
    }

    #[test]
    fn one_that_did_not_ring_is_overdue_after_a_while() {
        let mut alarm = Alarm::default();
        assert!(!alarm.is_overdue(i64::MAX), "nothing is known of it");
        alarm.armed(50);
        assert!(!alarm.is_overdue(50 + OVERDUE_MS) && alarm.is_overdue(51 + OVERDUE_MS));
    }

    #[test]
    fn what_could_not_be_set_is_set_with_the_next_one_at_the_earliest_time_owed() {
        let mut alarm = Alarm::default();
        alarm.armed(50);
        alarm.owes(30);
        alarm.owes(40);
        assert_eq!((alarm.owed(), alarm.wants(60)), (Some(30), Some(30)));
        alarm.armed(30);
        assert_eq!((alarm.owed(), alarm.wants(60)), (None, None));
    }
}
