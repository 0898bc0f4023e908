//! How fast jobs come and go, counted from what clients are told of them: no row is written for it.

use serde::{Deserialize, Serialize};

use super::job::exists;
use super::state::Event;
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// Events that are looked at, the newest: some milliseconds of reading, and half of those that are kept at least.
pub const RATE_EVENTS_MAX: i64 = 4_096;
/// Over how long is counted, in minutes.
pub const RATE_MINUTES: [u32; 3] = [1, 5, 15];
const MINUTE_MS: i64 = 60_000;

/// What happened in the last minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    pub minutes: u32,
    /// More happened than is looked at: what is counted is of the last `counted_ms` alone.
    pub at_least: bool,
    pub counted_ms: i64,
    pub by_type: Vec<TypeCounts>,
}

/// How many jobs of one type were made, and so on: numbers, not yet divided by a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeCounts {
    #[serde(rename = "type")]
    pub kind: String,
    pub made: u32,
    /// Attempts that began, by a worker or by a client itself.
    pub started: u32,
    /// Attempts that failed where another is to come.
    pub retried: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub cancelled: u32,
}

impl TypeCounts {
    /// None for what is no beginning and no end.
    const fn part(&mut self, event: Option<Event>) -> Option<&mut u32> {
        match event {
            None => Some(&mut self.made),
            Some(Event::Lease | Event::Take) => Some(&mut self.started),
            Some(Event::Retry) => Some(&mut self.retried),
            Some(Event::Complete | Event::Finish) => Some(&mut self.succeeded),
            Some(Event::Die | Event::Expire | Event::GiveUp) => Some(&mut self.failed),
            Some(Event::Cancel) => Some(&mut self.cancelled),
            Some(
                Event::Due
                | Event::Nudge
                | Event::Pass
                | Event::Beat
                | Event::Redrive
                | Event::GiveBack
                | Event::GiveBackEarly,
            ) => None,
        }
    }
}

/// What there is where nothing ever happened.
#[must_use]
pub fn no_rates() -> Vec<Rates> {
    let none = |minutes: u32| {
        let counted_ms = i64::from(minutes).saturating_mul(MINUTE_MS);
        Rates { minutes, at_least: false, counted_ms, by_type: Vec::new() }
    };
    RATE_MINUTES.map(none).to_vec()
}

/// # Errors
/// What the database refused.
pub fn rates(sql: &mut impl Sql, now_ms: i64) -> Result<Vec<Rates>, Refusal> {
    let mut found = no_rates();
    if !exists(sql)? {
        return Ok(found);
    }
    // Events are numbered as they happen, so the newest are found by their numbers alone.
    let before = super::last_seq(sql)?.saturating_sub(RATE_EVENTS_MAX);
    let cut_ms: Option<i64> =
        row(sql, "SELECT at_ms FROM job_events WHERE seq = ?1", &[before.max(0).into()])?;
    let since_ms =
        RATE_MINUTES.map(|minutes| now_ms.saturating_sub(i64::from(minutes).saturating_mul(MINUTE_MS)));
    let [one_ms, five_ms, fifteen_ms] = since_ms;
    let rows: Vec<(String, Option<Event>, [u32; 3])> = row(
        sql,
        "SELECT json_group_array(json_array(type, event, json_array(one, five, fifteen))) FROM
           (SELECT body ->> '$.type' AS type, body ->> '$.event' AS event, SUM(at_ms > ?2) AS one,
              SUM(at_ms > ?3) AS five, COUNT(*) AS fifteen
            FROM job_events WHERE seq > ?1 AND at_ms > ?4 GROUP BY 1, 2 ORDER BY 1, 2)",
        &[before.into(), one_ms.into(), five_ms.into(), fifteen_ms.into()],
    )?
    .unwrap_or_default();
    for (at, (rates, since_ms)) in found.iter_mut().zip(since_ms).enumerate() {
        if let Some(cut_ms) = cut_ms.filter(|cut_ms| *cut_ms > since_ms) {
            rates.at_least = true;
            rates.counted_ms = now_ms.saturating_sub(cut_ms).clamp(0, rates.counted_ms);
        }
        for (kind, event, counts) in &rows {
            let count = counts.get(at).copied().unwrap_or_default();
            rates.add(kind, *event, count);
        }
    }
    Ok(found)
}

impl Rates {
    fn add(&mut self, kind: &str, event: Option<Event>, count: u32) {
        if count == 0 {
            return;
        }
        let at = self.by_type.iter().position(|known| known.kind == kind).unwrap_or_else(|| {
            self.by_type.push(TypeCounts { kind: kind.to_owned(), ..TypeCounts::default() });
            self.by_type.len().saturating_sub(1)
        });
        if let Some(part) = self.by_type.get_mut(at).and_then(|known| known.part(event)) {
            *part = part.saturating_add(count);
        }
    }
}
