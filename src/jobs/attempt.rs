//! One attempt at a job, as its type sees it: what is asked, what an earlier one left, and how to say how far it is.

use actors::jobs::{Beat, Job, Leased, Owed};
use actors::shared::{Refusal, TenantId};
use actors::tenant::{Command, JobCommand};
use serde_json::value::RawValue;

use super::stored::Stored;
use crate::edge::operation::Operation;
use crate::platform::tenant_stub;

pub struct Attempt {
    pub operation: Operation,
    pub tenant: TenantId,
    pub job: Job,
    /// `None` where there are none that can be read.
    pub stored: Option<Stored>,
    /// What an earlier attempt got done.
    pub checkpoint: Option<Box<RawValue>>,
}

/// Why what an attempt said is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unkept {
    /// The lease is another's, or the job is over: nobody wants what this attempt makes.
    LeaseLost,
    /// It is larger than it may be, and would be the next time.
    Refused,
    /// The actor did not answer. It is asked again soon enough.
    Unreached,
}

impl Attempt {
    pub fn new(operation: Operation, tenant: TenantId, leased: Leased) -> Self {
        let Leased { job, params, checkpoint } = leased;
        let stored = params.and_then(|params| serde_json::from_str(params.get()).ok());
        Self { operation, tenant, job, stored, checkpoint }
    }

    /// Sends a command about this job to its actor.
    ///
    /// # Errors
    /// The actor's refusal.
    pub async fn send(&self, command: JobCommand) -> tenant_stub::Answer {
        let command = Command::Jobs(Box::new(command));
        tenant_stub::send(self.operation.origin(), &self.tenant, None, command).await
    }

    /// Says that it is at it: how far, for clients to see, and what is done, for another attempt to go on with, with what
    /// is owed for it.
    ///
    /// # Errors
    /// Why it is not kept.
    pub async fn beat(
        &self,
        progress: Option<Box<RawValue>>,
        checkpoint: Option<Box<RawValue>>,
        owed: Option<Owed>,
    ) -> Result<(), Unkept> {
        let beat = Beat { id: self.job.id.clone(), epoch: self.job.epoch, progress, checkpoint, owed };
        match self.send(JobCommand::Beat(beat)).await {
            Err(Refusal::StaleLease { .. } | Refusal::UnknownJob) => Err(Unkept::LeaseLost),
            Err(Refusal::InvalidSetting { .. }) => Err(Unkept::Refused),
            Err(_) => Err(Unkept::Unreached),
            Ok(_) => Ok(()),
        }
    }
}
