//! The audit of jobs: what their rows say, against the holds and the count that the tenant keeps.

use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// Problems that are listed of each kind; the first says the most.
const PROBLEMS_MAX: i64 = 5;

/// What is wrong, in words. `open` is how many jobs the tenant counts that are not over.
///
/// # Errors
/// What the database refused. What is found wrong is no error.
pub fn verify(sql: &mut impl Sql, open: u32) -> Result<Vec<String>, Refusal> {
    let mut problems = Vec::new();
    let counted: Option<u32> =
        row(sql, "SELECT COUNT(*) FROM jobs WHERE life ->> '$.finished_at_ms' IS NULL", &[])?;
    if counted != Some(open) {
        problems.push("jobs that are not over are miscounted".to_owned());
    }
    let checks = [
        (
            "a job that is not over has no open hold",
            "SELECT j.id FROM jobs AS j LEFT JOIN holds AS h ON h.id = j.id
               || CASE j.life ->> '$.redrives' WHEN 0 THEN '' ELSE '-r' || (j.life ->> '$.redrives') END
             WHERE j.life ->> '$.finished_at_ms' IS NULL
               AND (h.id IS NULL OR h.state <> 'open' OR h.owner ->> '$.job' IS NOT j.id)",
        ),
        (
            "an open hold is of a job that is over or is another attempt's",
            "SELECT h.id FROM holds AS h LEFT JOIN jobs AS j ON j.id = h.owner ->> '$.job'
             WHERE h.state = 'open' AND h.owner ->> '$.job' IS NOT NULL AND (j.id IS NULL
               OR j.life ->> '$.finished_at_ms' IS NOT NULL OR h.id <> j.id
                 || CASE j.life ->> '$.redrives' WHEN 0 THEN '' ELSE '-r' || (j.life ->> '$.redrives') END)",
        ),
        (
            "a job is over and is not, both at once",
            "SELECT id FROM jobs WHERE (life ->> '$.finished_at_ms' IS NOT NULL)
               <> (state = 'succeeded' OR state = 'failed' OR state = 'cancelled')",
        ),
        (
            "a job that failed does not say why, or one that did not says so",
            "SELECT id FROM jobs WHERE (state = 'failed') <> (life ->> '$.reason' IS NOT NULL)",
        ),
        (
            "a job had more attempts than it may have",
            "SELECT id FROM jobs WHERE life ->> '$.attempts' > terms ->> '$.attempts_max'",
        ),
        (
            "a job that did not succeed was charged more than was set aside",
            "SELECT id FROM jobs WHERE state <> 'succeeded' AND life ->> '$.charged_micro' > terms ->> '$.amount_micro'",
        ),
        (
            "a job that is not over was charged",
            "SELECT id FROM jobs WHERE life ->> '$.finished_at_ms' IS NULL AND life ->> '$.charged_micro' > 0",
        ),
        (
            "a job that runs has no epoch",
            "SELECT id FROM jobs WHERE (state = 'leased' OR state = 'taken') AND epoch < 1",
        ),
    ];
    for (problem, query) in checks {
        let statement = format!("SELECT json_group_array(id) FROM ({query} LIMIT {PROBLEMS_MAX})");
        let found: Vec<String> = row(sql, &statement, &[])?.unwrap_or_default();
        problems.extend(found.into_iter().map(|id| format!("{problem}: {id}")));
    }
    Ok(problems)
}
