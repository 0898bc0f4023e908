//! `/api/jobs`: making jobs, watching them, and what a client may do to them. The work itself is `crate::jobs`'.

mod change;
mod create;
mod look;
mod run;
mod schedules;
mod shown;

use actors::tenant::{Command, JobCommand, JobReply, Reply as ActorReply};

pub use change::{cancel, patch, redrive, retry};
pub use create::create;
pub use look::{dead, download, list, show, stats};
pub use run::run;
pub use schedules::{
    delete as delete_schedule, list as list_schedules, set as set_schedule, show as show_schedule,
};

use super::context::{Context, unexpected};
use super::error::ApiError;
use super::identity::Caller;
use super::meter;

/// Asks the caller's actor about jobs.
///
/// # Errors
/// The actor's refusal, as clients see it.
async fn ask(context: &Context, caller: &Caller, command: JobCommand) -> Result<JobReply, ApiError> {
    let command = Command::Jobs(Box::new(command));
    let answer = context.send_metered(caller, command).await;
    match answer.map_err(|refusal| meter::of_caller(refusal, caller))? {
        ActorReply::Jobs(reply) => Ok(*reply),
        _ => Err(unexpected()),
    }
}

/// The id in `/api/jobs/:id/…`. That it could be anything does no harm: the caller's own actor is asked, and knows no
/// job of another one.
fn id(context: &Context) -> String {
    context.inbound.path.split('/').nth(3).unwrap_or_default().to_owned()
}
