//! Cron expressions in time zones: when a schedule runs next. Rules need no calendar, so this is the platform's.

use std::str::FromStr;

use chrono::DateTime;
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// A schedule's times, read.
#[derive(Debug, Clone)]
pub struct Times {
    cron: Cron,
    zone: Tz,
}

/// What is wrong with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misread {
    /// No cron expression of five fields.
    Cron,
    /// No name of the IANA time zone database.
    Zone,
}

impl Times {
    /// Reads five fields (minute, hour, day, month, day of the week), or a name for them such as `@daily`, in a time zone.
    ///
    /// # Errors
    /// [`Misread`].
    pub fn read(cron: &str, zone: &str) -> Result<Self, Misread> {
        let zone = Tz::from_str(zone).map_err(|_| Misread::Zone)?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(cron).map_err(|_| Misread::Cron)?;
        Ok(Self { cron, zone })
    }

    /// The next time after `at_ms`, in milliseconds since 1970; `None` where there is none any more.
    pub fn next_ms(&self, at_ms: i64) -> Option<i64> {
        let at = DateTime::from_timestamp_millis(at_ms)?.with_timezone(&self.zone);
        let next_ms = self.cron.find_next_occurrence(&at, false).ok()?.timestamp_millis();
        // A time that a change of the clock skips or repeats moves on in any case.
        (next_ms > at_ms).then_some(next_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    fn after(cron: &str, zone: &str, at: &str, count: usize) -> Vec<String> {
        let times = Times::read(cron, zone).unwrap();
        let mut at_ms = ms(at);
        let mut found = Vec::new();
        for _ in 0..count {
            at_ms = times.next_ms(at_ms).unwrap();
            found.push(crate::shown::iso_time(at_ms).replace(":00.000Z", "Z"));
        }
        found
    }

    #[test]
    fn names_stand_for_their_fields() {
        for (name, fields) in [
            ("@hourly", "0 * * * *"),
            ("@daily", "0 0 * * *"),
            ("@weekly", "0 0 * * 0"),
            ("@monthly", "0 0 1 * *"),
            ("@yearly", "0 0 1 1 *"),
            ("@annually", "0 0 1 1 *"),
        ] {
            let next = |cron| after(cron, "Europe/Berlin", "2026-11-30T12:00:00Z", 3);
            assert_eq!(next(name), next(fields), "{name}");
        }
        assert_eq!(Times::read("@reboot", "UTC").err(), Some(Misread::Cron));
    }

    #[test]
    fn a_time_is_that_of_its_zone() {
        let berlin = after("30 9 * * *", "Europe/Berlin", "2026-11-30T00:00:00Z", 1);
        let york = after("30 9 * * MON-FRI", "America/New_York", "2026-11-28T00:00:00Z", 1);
        assert_eq!((berlin[0].as_str(), york[0].as_str()), ("2026-11-30T08:30Z", "2026-11-30T14:30Z"));
    }

    #[test]
    fn a_change_of_the_clock_neither_loses_nor_doubles_a_daily_run() {
        // In the night to 29 March 2026 the clock in Berlin goes from 2 to 3, and back in that to 25 October.
        let spring = after("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 4);
        let days: Vec<&str> = spring.iter().map(|at| &at[..10]).collect();
        assert_eq!(days, ["2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"], "{spring:?}");
        let autumn = after("30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", 3);
        let days: Vec<&str> = autumn.iter().map(|at| &at[..10]).collect();
        assert_eq!(days, ["2026-10-24", "2026-10-25", "2026-10-26"], "{autumn:?}");
    }

    #[test]
    fn what_is_none_is_refused_and_what_never_comes_ends() {
        for wrong in ["", "* * * *", "* * * * * *", "61 * * * *", "x * * * *"] {
            assert!(matches!(Times::read(wrong, "UTC"), Err(Misread::Cron)), "{wrong}");
        }
        assert!(matches!(Times::read("* * * * *", "Mars/Olympus"), Err(Misread::Zone)));
        let began = std::time::Instant::now();
        let never = Times::read("0 0 30 2 *", "UTC").map(|times| times.next_ms(0));
        assert!(!matches!(never, Ok(Some(_))), "{never:?}");
        assert!(began.elapsed().as_millis() < 2_000, "{:?}", began.elapsed());
    }
}
