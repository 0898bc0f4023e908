//! One attempt at a job, as its type sees it: what is asked, what an earlier one left, and how to say how far it is.

use actors::jobs::{Beat, Job, Leased};
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

/// The lease is another's, or the job is over: nobody wants what this attempt makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLost;

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

    /// Says that it is at it: how far, for clients to see, and what is done, for another attempt to go on with.
    ///
    /// # Errors
    /// [`LeaseLost`]. An actor that did not answer is asked again soon enough.
    pub async fn beat(
        &self,
        progress: Option<Box<RawValue>>,
        checkpoint: Option<Box<RawValue>>,
    ) -> Result<(), LeaseLost> {
        let beat = Beat { id: self.job.id.clone(), epoch: self.job.epoch, progress, checkpoint };
        match self.send(JobCommand::Beat(beat)).await {
            Err(Refusal::StaleLease { .. } | Refusal::UnknownJob) => Err(LeaseLost),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
