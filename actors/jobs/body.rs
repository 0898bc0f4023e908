//! What is large of a job: what it is asked, what an attempt left for the next one, and its result.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::job::{Job, expect};
use super::{CHECKPOINT_BYTES_MAX, RESULT_BYTES_MAX};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// A job with all that is kept of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobWithBody {
    pub job: Job,
    pub params: Option<Box<RawValue>>,
    pub checkpoint: Option<Box<RawValue>>,
    pub result: Option<Box<RawValue>>,
}

/// # Errors
/// What the database refused.
pub fn with_body(sql: &mut impl Sql, job: Job) -> Result<JobWithBody, Refusal> {
    type Body = (Option<Box<RawValue>>, Option<Box<RawValue>>, Option<Box<RawValue>>);
    let body: Option<Body> = row(
        sql,
        "SELECT concat('[', COALESCE(params, 'null'), ',', COALESCE(checkpoint, 'null'), ',',
           COALESCE(result, 'null'), ']') FROM job_bodies WHERE seq = ?1",
        &[job.seq.into()],
    )?;
    let (params, checkpoint, result) = body.unwrap_or_default();
    Ok(JobWithBody { job, params, checkpoint, result })
}

/// Keeps what an attempt got done so far.
///
/// # Errors
/// `InvalidSetting` when it is too large.
pub fn checkpoint(sql: &mut impl Sql, job: &Job, done: &RawValue) -> Result<(), Refusal> {
    expect(done.get().len() <= CHECKPOINT_BYTES_MAX, "checkpoint", "at most 262144 bytes of JSON")?;
    let args = [job.seq.into(), done.get().into()];
    sql.execute("UPDATE job_bodies SET checkpoint = ?2 WHERE seq = ?1", &args)?;
    Ok(())
}

/// Keeps the result. The checkpoint has served.
///
/// # Errors
/// `InvalidSetting` when it is too large.
pub fn write_result(sql: &mut impl Sql, job: &Job, result: &RawValue) -> Result<(), Refusal> {
    expect(result.get().len() <= RESULT_BYTES_MAX, "result", "at most 1000000 bytes of JSON")?;
    let args = [job.seq.into(), result.get().into()];
    sql.execute("UPDATE job_bodies SET result = ?2, checkpoint = NULL WHERE seq = ?1", &args)?;
    Ok(())
}

/// Forgets all of it.
///
/// # Errors
/// What the database refused.
pub fn drop_body(sql: &mut impl Sql, seq: i64) -> Result<(), Refusal> {
    sql.execute("DELETE FROM job_bodies WHERE seq = ?1", &[seq.into()])?;
    Ok(())
}
