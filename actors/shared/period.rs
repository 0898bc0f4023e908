//! Calendar periods in UTC, from milliseconds alone.

use serde::{Deserialize, Serialize};

pub const DAY_MS: i64 = 86_400_000;

/// A period that a cap counts in. It begins at midnight UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Day,
    Month,
}

impl Period {
    /// When the period that holds `at_ms` began.
    #[must_use]
    pub const fn start_ms(self, at_ms: i64) -> i64 {
        let day = at_ms.div_euclid(DAY_MS);
        match self {
            Self::Day => day.saturating_mul(DAY_MS),
            Self::Month => {
                let (_, _, day_of_month) = civil(day);
                day.saturating_sub(day_of_month.saturating_sub(1)).saturating_mul(DAY_MS)
            }
        }
    }

    /// When the period after the one that holds `at_ms` begins.
    #[must_use]
    pub const fn next_start_ms(self, at_ms: i64) -> i64 {
        // A month has at most 31 days, so 32 days after its start are in the next one, whatever its length.
        let days = match self {
            Self::Day => 1,
            Self::Month => 32,
        };
        let inside = self.start_ms(at_ms).saturating_add(DAY_MS.saturating_mul(days));
        self.start_ms(inside)
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year (the algorithm of
/// `std::chrono`'s `civil_from_days`).
const fn civil(day: i64) -> (i64, i64, i64) {
    const DAYS_TO_EPOCH: i64 = 719_468;
    const DAYS_PER_ERA: i64 = 146_097;
    let shifted = day.saturating_add(DAYS_TO_EPOCH);
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let leap_days = day_of_era / 1_460;
    let year_of_era = day_of_era
        .saturating_sub(leap_days)
        .saturating_add(day_of_era / 36_524)
        .saturating_sub(day_of_era / 146_096)
        / 365;
    let before_year =
        year_of_era.saturating_mul(365).saturating_add(year_of_era / 4).saturating_sub(year_of_era / 100);
    let day_of_year = day_of_era.saturating_sub(before_year);
    let month_from_march = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let before_month = month_from_march.saturating_mul(153).saturating_add(2) / 5;
    let day_of_month = day_of_year.saturating_sub(before_month).saturating_add(1);
    let month = if month_from_march < 10 {
        month_from_march.saturating_add(3)
    } else {
        month_from_march.saturating_sub(9)
    };
    let january_or_february = if month <= 2 { 1 } else { 0 };
    let year = era.saturating_mul(400).saturating_add(year_of_era).saturating_add(january_or_february);
    (year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_begin_at_midnight_and_on_the_first() {
        // 2024-02-29T12:34:56Z, a leap day.
        let at_ms = 1_709_210_096_000;
        assert_eq!(Period::Day.start_ms(at_ms), 1_709_164_800_000);
        assert_eq!(Period::Day.next_start_ms(at_ms), 1_709_251_200_000);
        assert_eq!(Period::Month.start_ms(at_ms), 1_706_745_600_000, "2024-02-01");
        assert_eq!(Period::Month.next_start_ms(at_ms), 1_709_251_200_000, "2024-03-01");
    }

    #[test]
    fn every_day_of_four_hundred_years_follows_the_one_before() {
        let mut before = civil(-1);
        assert_eq!(before, (1969, 12, 31));
        for day in 0..146_097 {
            let (year, month, date) = civil(day);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = |month| match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let expected = match before {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if d == length(m) => (y, m + 1, 1),
                (y, m, d) => (y, m, d + 1),
            };
            assert_eq!((year, month, date), expected, "day {day}");
            before = (year, month, date);
        }
    }
}
