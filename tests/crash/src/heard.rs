//! What a client heard of one attempt.

use crate::bounds::ATTEMPT_BOUND;
use crate::operation::Receipt;
use http_tests::client::Reply;
use std::future::Future;

#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// 2xx, whole.
    Whole(Receipt),
    /// It was not done. `again` says that the same request may still be done later.
    Refused { code: String, again: bool },
    /// It reached the runtime, and no answer came that says what became of it.
    Nothing { code: Option<String> },
    /// There was nobody to connect to.
    Unsent,
    /// A reply that no client should ever see, or none at all from a runtime that was not killed.
    Wrong(String),
}

impl Heard {
    pub fn failure(error: &reqwest::Error) -> Self {
        if error.is_connect() { Self::Unsent } else { Self::Nothing { code: None } }
    }

    /// A whole reply that is no 200.
    pub fn refusal(reply: &Reply) -> Self {
        let code = reply.error();
        match (reply.status, code.as_str()) {
            (402, "insufficient_credits") => Self::Refused { code, again: false },
            // No provider answered: nothing was charged and the key, when there was one, is free.
            (502, "si_ask_failed") => Self::Refused { code, again: true },
            (409, "idempotency_in_progress") => Self::Refused { code, again: true },
            // The front door could not hear its actor, so it does not know either.
            (503, "unavailable") => Self::Nothing { code: Some(code) },
            _ => Self::Wrong(format!("{reply:?}")),
        }
    }

    /// The reply of a route that answers with JSON, read by `receipt` when it is a 200.
    pub fn of_json(
        sent: Result<Reply, reqwest::Error>,
        receipt: impl FnOnce(&Reply) -> Result<Receipt, String>,
    ) -> Self {
        match sent {
            Err(error) => Self::failure(&error),
            Ok(reply) if reply.status == 200 => match receipt(&reply) {
                Ok(receipt) => Self::Whole(receipt),
                Err(why) => Self::Wrong(format!("{why}: {reply:?}")),
            },
            Ok(reply) => Self::refusal(&reply),
        }
    }

    /// Gives up an attempt that the Worker's own deadlines should have ended long ago.
    pub async fn in_time(attempt: impl Future<Output = Self>) -> Self {
        match tokio::time::timeout(ATTEMPT_BOUND, attempt).await {
            Ok(heard) => heard,
            Err(_) => Self::Wrong(format!("no end of an answer within {ATTEMPT_BOUND:?}")),
        }
    }
}
