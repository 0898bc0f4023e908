//! What the front door asks of an experiment, and what it answers.

use serde::{Deserialize, Serialize};

use super::answers::{self, Answered, Feedback, Scored};
use super::assign::{self, Ask, Assigned};
use super::define::{self, Definition};
use super::directory::{self, Entry, Listed};
use super::report::{self, Report};
use super::steer::{self, Page, Steering};
use crate::shared::Refusal;
use crate::sql::Sql;

/// One command, as it crosses to the actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The request it is part of, for the log.
    pub request_id: String,
    /// Whose experiment it is.
    pub skill: String,
    pub command: Command,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Define {
        definition: Definition,
        reason: Option<String>,
        operator: String,
    },
    Assign(Ask),
    Answered(Answered),
    Feedback(Feedback),
    Steer(Steering),
    Report,
    /// A report with another part of what was done.
    ReportPage(Page),
    /// Of the one actor that lists the skills.
    Directory(Entry),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Nothing where the skill has no experiment.
    Assigned(Option<Assigned>),
    Noted,
    Scored(Scored),
    Report(Box<Report>),
    Directory(Listed),
}

/// Does one command, within a transaction that whoever calls this opened. `seed` is all the chance there is.
///
/// # Errors
/// The refusal; nothing was changed then, if the transaction is undone.
pub fn handle(sql: &mut impl Sql, call: &Call, seed: u64, now_ms: i64) -> Result<Reply, Refusal> {
    let skill = call.skill.as_str();
    match &call.command {
        Command::Define { definition, reason, operator } => {
            let by = (reason.as_deref(), operator.as_str());
            define::define(sql, skill, definition, by, (seed, now_ms))?;
            report::report(sql, skill).map(Box::new).map(Reply::Report)
        }
        Command::Assign(ask) => assign::assign(sql, skill, ask, seed, now_ms).map(Reply::Assigned),
        Command::Answered(answered) => {
            answers::note(sql, skill, answered, now_ms)?;
            Ok(Reply::Noted)
        }
        Command::Feedback(feedback) => answers::score(sql, skill, feedback, now_ms).map(Reply::Scored),
        Command::Steer(steering) => {
            steer::steer(sql, skill, steering, now_ms)?;
            report::report(sql, skill).map(Box::new).map(Reply::Report)
        }
        Command::Report => report::report(sql, skill).map(Box::new).map(Reply::Report),
        Command::ReportPage(page) => report::with_page(sql, skill, page).map(Box::new).map(Reply::Report),
        Command::Directory(entry) => directory::handle(sql, entry, now_ms).map(Reply::Directory),
    }
}
