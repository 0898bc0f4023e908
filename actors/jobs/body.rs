//! What is large of a job: what it is asked, what an attempt left for the next one, and its result.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::attempt::Owed;
use super::job::{Job, expect, json};
use super::{CHECKPOINT_BYTES_MAX, OWED_BYTES_MAX, RESULT_BYTES_MAX};
use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

/// A job with all that is kept of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobWithBody {
    pub job: Job,
    pub params: Option<Box<RawValue>>,
    pub checkpoint: Option<Box<RawValue>>,
    /// Its result; of one that has none, what its checkpoint says of it.
    pub result: Option<Box<RawValue>>,
}

/// # Errors
/// What the database refused.
pub fn with_body(sql: &mut impl Sql, job: Job) -> Result<JobWithBody, Refusal> {
    type Body = (Option<Box<RawValue>>, Option<Box<RawValue>>, Option<Box<RawValue>>);
    let body: Option<Body> = row(
        sql,
        "SELECT concat('[', COALESCE(params, 'null'), ',', COALESCE(checkpoint -> '$.done', 'null'), ',',
           COALESCE(result, checkpoint -> '$.done.result', 'null'), ']') FROM job_bodies WHERE seq = ?1",
        &[job.seq.into()],
    )?;
    let (params, checkpoint, result) = body.unwrap_or_default();
    Ok(JobWithBody { job, params, checkpoint, result })
}

/// Keeps what an attempt got done so far, and what is owed for it.
///
/// # Errors
/// `InvalidSetting` when one of them is too large.
pub fn checkpoint(
    sql: &mut impl Sql,
    job: &Job,
    done: &RawValue,
    owed: Option<&Owed>,
) -> Result<(), Refusal> {
    expect(done.get().len() <= CHECKPOINT_BYTES_MAX, "checkpoint", "at most 524288 bytes of JSON")?;
    let owed = json(&owed)?;
    expect(owed.len() <= OWED_BYTES_MAX, "owed", "at most 65536 bytes of JSON")?;
    let args = [job.seq.into(), format!("{{\"done\":{},\"owed\":{owed}}}", done.get()).into()];
    sql.execute("UPDATE job_bodies SET checkpoint = ?2 WHERE seq = ?1", &args)?;
    Ok(())
}

/// What is owed for what the attempts at a job got done; nothing where none said so.
///
/// # Errors
/// What the database refused.
pub fn owed(sql: &mut impl Sql, job: &Job) -> Result<Option<Owed>, Refusal> {
    let found: Option<Option<Owed>> = row(
        sql,
        "SELECT COALESCE(checkpoint -> '$.owed', 'null') FROM job_bodies WHERE seq = ?1",
        &[job.seq.into()],
    )?;
    Ok(found.flatten().filter(|owed| owed.charge > Micro::ZERO))
}

/// What was owed was settled when the job ended. What is done stays, for it begins anew.
pub(super) fn forget_owed(sql: &mut impl Sql, job: &Job) -> Result<(), Refusal> {
    let statement = "UPDATE job_bodies SET checkpoint = json_remove(checkpoint, '$.owed')
       WHERE seq = ?1 AND checkpoint IS NOT NULL";
    sql.execute(statement, &[job.seq.into()])?;
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
