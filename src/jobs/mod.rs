//! Jobs, done: the workers behind the queue.
//!
//! A worker leases a job from its tenant's actor, does it, says in between that it is at it, and brings the result or the
//! error. The actor decides everything; a worker that is lost is replaced when its lease runs out. A message is only a
//! call: it is acknowledged as soon as the actor has answered it, whatever becomes of the job.
//!
//! [`kinds`] lists the types of jobs. Each is one file.

mod attempt;
mod batch;
mod consumer;
pub mod kinds;
mod scheduled;
mod si;
mod stored;
mod transcribe;
mod webhook;
pub mod worker;

pub use consumer::consume;
pub use scheduled::price_run;
pub use stored::{SECRET, Stored};
