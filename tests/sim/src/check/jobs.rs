//! Jobs: what is answered of them, their rows, what clients are told, and the promises about leases and charges.

use std::collections::BTreeSet;

use actors::jobs::{Event, Job as JobRow, State};
use actors::sql::Sql;
use actors::sqlite::Sqlite;
use actors::tenant::JobReply;

use super::{holds, same};
use crate::command::hold_id;
use crate::job_command::{TYPES, job_id, mark_text, worker_id};
use crate::model::{Answer, Job, JobView, Model};

fn view(job: &JobRow) -> JobView {
    JobView {
        id: job.id.trim_start_matches('h').parse().unwrap_or(u32::MAX),
        state: job.state,
        due_at_ms: job.due_at_ms,
        epoch: job.epoch,
        expires_at_ms: job.expires_at_ms,
        attempts: job.life.attempts,
        redrives: job.life.redrives,
        reason: job.life.reason,
        charged: job.life.charged.0,
        balance: job.life.balance.map(|balance| balance.0),
    }
}

pub fn compare(reply: &JobReply, answer: &Answer) -> Result<(), String> {
    match (reply, answer) {
        (
            JobReply::Created { job, deduped, replayed },
            Answer::JobMade { job: wanted, deduped: known, replayed: again },
        ) => {
            same("whether a job is a known one", &(*deduped, *replayed), &(*known, *again))?;
            same("a job that was made", &view(job), wanted)
        }
        (JobReply::Leased(found), Answer::Leased(wanted)) => {
            let body = found.as_ref().is_none_or(|leased| leased.params.is_some());
            holds(body, || "a job is leased that says nothing of what is asked".to_owned())?;
            same("a lease", &found.as_ref().map(|leased| view(&leased.job)), wanted)
        }
        (JobReply::Beaten { until_ms }, Answer::Beaten { until_ms: wanted }) => {
            same("the end of a lease", until_ms, wanted)
        }
        (JobReply::Ended { job, first }, Answer::JobEnded { job: wanted, first: known }) => {
            same("an attempt that ended", &(view(job), *first), &(*wanted, *known))
        }
        (JobReply::Changed(job), Answer::JobChanged(wanted)) => {
            same("a job that was changed", &view(job), wanted)
        }
        (
            JobReply::Redriven { jobs, refused, next_cursor },
            Answer::Redriven { jobs: wanted, more: rest, refused: why },
        ) => {
            let wanted: Vec<String> = wanted.iter().map(|job| job_id(*job)).collect();
            same("jobs that began anew", &(jobs, next_cursor.is_some(), refused), &(&wanted, *rest, why))
        }
        _ => Err(format!("answered {reply:?}, expected {answer:?}")),
    }
}

fn rows<T: serde::de::DeserializeOwned>(database: &mut Sqlite, query: &str) -> Result<T, String> {
    let text = database.text(query, &[]).map_err(|error| error.to_string())?.unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

/// Cheap, for every step: how many there are in each state, that no two leases are live, and what is told.
pub fn check(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    if !model.state.job_tables {
        return Ok(());
    }
    let read = database.first_row(
        "SELECT COUNT(*), COALESCE(SUM(state = 'leased'), 0), COALESCE(SUM(state = 'nudged'), 0),
           COALESCE(SUM(due_at_ms), 0), COALESCE(SUM(epoch), 0),
           (SELECT COALESCE(MAX(seq), 0) FROM job_events), (SELECT COUNT(*) FROM job_bodies) FROM jobs",
        |row| {
            let mut numbers = [0_i64; 7];
            for (at, number) in numbers.iter_mut().enumerate() {
                *number = row.get(at)?;
            }
            Ok(numbers)
        },
    );
    let found = read.map_err(|error| error.to_string())?;
    let jobs = &model.state.jobs;
    let count = |of: &dyn Fn(&Job) -> bool| i64::try_from(jobs.iter().filter(|job| of(job)).count()).unwrap();
    let expected = [
        count(&|_| true),
        count(&|job| job.state == State::Leased),
        count(&|job| job.state == State::Nudged),
        jobs.iter().filter_map(|job| job.due_at_ms).sum(),
        jobs.iter().map(|job| job.epoch).sum(),
        i64::try_from(model.logs.job_news.len()).unwrap(),
        count(&|job| job.has_body),
    ];
    same("jobs, leased, nudged, times, epochs, events and bodies", &found, &expected)?;
    let live = jobs.iter().filter(|job| job.state == State::Leased);
    let workers: BTreeSet<_> = live.clone().map(|job| job.worker).collect();
    same("workers with a lease", &workers.len(), &live.count())?;
    // Every job that is not over has its one hold, and every hold of a job is of one that is not.
    let held: BTreeSet<u32> =
        model.state.open_holds().filter(|hold| hold.job.is_some()).map(|hold| hold.id).collect();
    let open: BTreeSet<u32> = jobs.iter().filter(|job| job.is_open()).map(Job::hold).collect();
    same("holds of jobs", &held, &open)
}

type Row = (String, String, String, i64, Option<i64>, i64, Option<String>, i64, Option<String>);
type Life = (u32, u32, u32, Option<serde_json::Value>, bool, i64, Option<i64>);

/// Everything, row by row.
pub fn check_rows(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    if !model.state.job_tables {
        return Ok(());
    }
    let found: Vec<(Row, Life)> = rows(
        database,
        "SELECT json_group_array(json_array(
           json_array(id, type, state, priority, due_at_ms, epoch, worker, expires_at_ms, dedupe),
           json_array(life -> '$.attempts', life -> '$.redrives', life -> '$.nudges', life -> '$.progress',
             json(iif(life ->> '$.error' IS NULL, 'false', 'true')), life -> '$.charged_micro',
             life -> '$.finished_at_ms')))
         FROM (SELECT * FROM jobs ORDER BY seq)",
    )?;
    let mut expected: Vec<&Job> = model.state.jobs.iter().collect();
    expected.sort_by_key(|job| job.seq);
    same("jobs", &found.len(), &expected.len())?;
    for ((row, life), job) in found.into_iter().zip(expected) {
        let wanted: Row = (
            job_id(job.id),
            TYPES[usize::from(job.spec.kind)].to_owned(),
            job.state.name().to_owned(),
            job.spec.priority,
            job.due_at_ms,
            job.epoch,
            job.worker.map(worker_id),
            job.expires_at_ms,
            job.dedupe.map(|dedupe| format!("d{dedupe}")),
        );
        same("a job", &row, &wanted)?;
        let mark = job.mark.map(|mark| serde_json::from_str(&mark_text(mark)).unwrap());
        let wanted: Life =
            (job.attempts, job.redrives, job.nudges, mark, job.failed, job.charged, job.finished_at_ms);
        same("the life of a job", &life, &wanted)?;
    }
    check_news(database, model)?;
    let open: i64 = rows(database, "SELECT COALESCE(counters ->> '$.jobs_open', 0) FROM limits")?;
    let known = model.state.jobs.iter().filter(|job| job.is_open()).count();
    same("jobs that are not over, as counted", &open, &i64::try_from(known).unwrap())
}

fn check_news(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    let found: Vec<(i64, String, Option<Event>, String, u32)> = rows(
        database,
        "SELECT json_group_array(json_array(seq, body ->> '$.job', body ->> '$.event', body ->> '$.status',
           body ->> '$.attempt')) FROM (SELECT * FROM job_events ORDER BY seq)",
    )?;
    let known = model.logs.job_news.iter().zip(1..);
    let expected: Vec<_> = known
        .map(|(news, seq)| (seq, job_id(news.job), news.event, news.status.name().to_owned(), news.attempt))
        .collect();
    same("what is told of jobs", &found, &expected)
}

/// At the end: whatever attempts there were, one charge of each hold at most, of a job that completed or owed something.
pub fn check_charges(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    if !model.state.job_tables {
        return Ok(());
    }
    for job in &model.state.jobs {
        let holds_of = 0..=job.redrives;
        let admitted = |hold: u32| {
            let requests = model.history.admissions.iter().filter(|known| !known.growth);
            requests.filter(|known| known.hold == Some(hold)).count()
        };
        // One that was forgotten, and asked for after all that time, is another job of the same name.
        if holds_of.clone().any(|times| admitted(job.id + times * crate::model::REDRIVE) > 1) {
            continue;
        }
        let mut charges = 0;
        for redrives in holds_of {
            let hold = hold_id(job.id + redrives * crate::model::REDRIVE);
            let query =
                "SELECT COUNT(*) FROM entries WHERE kind = 'charge' AND operation = ?1 AND owned_micro < 0";
            let count = database.text(query, &[hold.as_str().into()]).map_err(|error| error.to_string())?;
            let count = count.and_then(|count| count.parse::<i64>().ok()).unwrap_or(0);
            holds(count <= 1, || format!("the hold {hold} was charged {count} times"))?;
            charges += count;
        }
        holds(charges == job.charges, || {
            format!("job {} is {:?} and has {charges} charges", job.id, job.state)
        })?;
    }
    Ok(())
}
