//! What came of the arms: answers that were given, and how they were scored.
//!
//! An answer counts when it was charged, and not before: an ask that was refused, repeated or came to nothing says
//! nothing of an arm. Its score counts once; who scores it again changes the score and not the count.

use serde::{Deserialize, Serialize};

use super::assign::{self, By};
use super::bandit::SCORE_PPM;
use super::{required, standing, wrong};
use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

/// Answers that wait for a score, or could be scored again. Beyond it the oldest are forgotten.
pub const REQUESTS_MAX: i64 = 100_000;
/// How long an answer can be scored: 30 days.
pub const FEEDBACK_WINDOW_MS: i64 = 30 * 86_400_000;
/// Answers that are looked at, and forgotten if their time is over, with each new one.
const FORGOTTEN_AT_ONCE: i64 = 8;
/// The longest an answer takes: an hour, far beyond every deadline.
const LATENCY_MS_MAX: i64 = 3_600_000;
/// The most that is added for one answer, some eight thousand credits: a million of them still sum up exactly.
const COST_MAX: Micro = Micro(1 << 33);

/// An answer that was given and charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub request_id: String,
    /// Digest of whose it is.
    pub tenant: String,
    /// The unit that asked.
    pub unit: String,
    pub arm: String,
    pub by: By,
    pub round: i64,
    pub cost: Micro,
    pub latency_ms: i64,
}

/// How good an answer was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    pub request_id: String,
    /// Digest of who says so.
    pub tenant: String,
    pub score_ppm: i64,
}

/// A score that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scored {
    pub arm: String,
    /// It is the answer's first one.
    pub first: bool,
    /// It is part of the odds. The client did not choose the arm itself.
    pub counted: bool,
}

/// Notes an answer, once. One of an experiment that is over, or of an arm that is not known, is none of ours.
///
/// # Errors
/// What the database refused.
pub(super) fn note(sql: &mut impl Sql, skill: &str, answered: &Answered, now_ms: i64) -> Result<(), Refusal> {
    let Some(found) = standing(sql, skill)?.filter(|found| found.round == answered.round) else {
        return Ok(());
    };
    let requested = i64::from(answered.by == By::Requested);
    let noted: Option<i64> = row(
        sql,
        "INSERT INTO requests (request_id, tenant, arm, requested, at_ms)
         SELECT ?1, ?2, name, ?4, ?5 FROM arms WHERE name = ?3
         ON CONFLICT (request_id) DO NOTHING RETURNING seq",
        &[
            answered.request_id.as_str().into(),
            answered.tenant.as_str().into(),
            answered.arm.as_str().into(),
            requested.into(),
            now_ms.into(),
        ],
    )?;
    let Some(newest) = noted else {
        return Ok(());
    };
    sql.execute(
        "UPDATE arms SET answers = answers + 1, requested = requested + ?2, cost_micro = cost_micro + ?3,
           latency_ms = latency_ms + ?4 WHERE name = ?1",
        &[
            answered.arm.as_str().into(),
            requested.into(),
            answered.cost.clamp(Micro::ZERO, COST_MAX).0.into(),
            answered.latency_ms.clamp(0, LATENCY_MS_MAX).into(),
        ],
    )?;
    if answered.by == By::Chance && found.sticky_ms > 0 {
        assign::stick(sql, &answered.unit, &answered.arm, (found.sticky_ms, now_ms))?;
    }
    forget(sql, newest, now_ms)
}

/// Forgets answers that are too many or too old, of the oldest a few at a time: more than come.
fn forget(sql: &mut impl Sql, newest: i64, now_ms: i64) -> Result<(), Refusal> {
    sql.execute(
        "DELETE FROM requests WHERE seq IN (SELECT seq FROM requests ORDER BY seq LIMIT ?3)
           AND (seq <= ?1 OR at_ms <= ?2)",
        &[
            newest.saturating_sub(REQUESTS_MAX).into(),
            now_ms.saturating_sub(FEEDBACK_WINDOW_MS).into(),
            FORGOTTEN_AT_ONCE.into(),
        ],
    )?;
    Ok(())
}

#[derive(Deserialize)]
struct Request {
    seq: i64,
    arm: String,
    requested: i64,
    score_ppm: Option<i64>,
}

/// Takes a score of an answer of the tenant's own. The last one said is the one that counts.
///
/// # Errors
/// `UnknownExperiment`; `UnknownRequest` for an answer that is another's, was forgotten, or never was: it is never said
/// which; `InvalidSetting`.
pub(super) fn score(
    sql: &mut impl Sql,
    skill: &str,
    feedback: &Feedback,
    now_ms: i64,
) -> Result<Scored, Refusal> {
    if !(0..=SCORE_PPM).contains(&feedback.score_ppm) {
        return Err(wrong("score", "0 to 1"));
    }
    required(sql, skill)?;
    let found: Option<Request> = row(
        sql,
        "SELECT json_object('seq', seq, 'arm', arm, 'requested', requested, 'score_ppm', score_ppm)
         FROM requests WHERE request_id = ?1 AND tenant = ?2 AND at_ms > ?3",
        &[
            feedback.request_id.as_str().into(),
            feedback.tenant.as_str().into(),
            now_ms.saturating_sub(FEEDBACK_WINDOW_MS).into(),
        ],
    )?;
    let Request { seq, arm, requested, score_ppm } = found.ok_or(Refusal::UnknownRequest)?;
    let (first, counted) = (score_ppm.is_none(), requested == 0);
    if score_ppm != Some(feedback.score_ppm) {
        sql.execute(
            "UPDATE requests SET score_ppm = ?2, scored_at_ms = ?3 WHERE seq = ?1",
            &[seq.into(), feedback.score_ppm.into(), now_ms.into()],
        )?;
        let sums = if counted {
            "UPDATE arms SET outcomes = outcomes + ?2, score_ppm = score_ppm + ?3 WHERE name = ?1"
        } else {
            "UPDATE arms SET requested_outcomes = requested_outcomes + ?2,
               requested_score_ppm = requested_score_ppm + ?3 WHERE name = ?1"
        };
        let more_ppm = feedback.score_ppm.saturating_sub(score_ppm.unwrap_or(0));
        sql.execute(sums, &[arm.as_str().into(), i64::from(first).into(), more_ppm.into()])?;
    }
    Ok(Scored { arm, first, counted })
}
