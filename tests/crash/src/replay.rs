//! The same request again, after it was acknowledged: the first reply again, and nothing done.

use crate::ask::Replayed;
use crate::bounds::{ATTEMPT_BOUND, REPLAYS_AT_ONCE};
use crate::heard::Heard;
use crate::load::Shared;
use crate::operation::{Operation, Request};
use crate::violation::{Fault, Violation};
use crate::{adjust, ask, usage_event};
use futures::StreamExt;
use http_tests::world::Tenant;

/// Sends each of `operations` again and compares; returns how many were.
pub async fn compare(shared: &Shared, operations: &[Operation]) -> usize {
    let again = operations.iter().map(|operation| async move {
        let tenant = &shared.parties[operation.tenant].tenant;
        let replayed = tokio::time::timeout(ATTEMPT_BOUND, again(tenant, operation)).await;
        if let Some(violation) = difference(operation, replayed.ok()) {
            shared.journal.accuse(violation);
        }
    });
    futures::stream::iter(again).buffer_unordered(REPLAYS_AT_ONCE).collect::<Vec<()>>().await.len()
}

/// What may be sent again, and was acknowledged.
pub fn candidates(operations: Vec<Operation>) -> Vec<Operation> {
    let repeatable =
        |operation: &Operation| operation.request.repeatable() && operation.acknowledged().is_some();
    operations.into_iter().filter(repeatable).collect()
}

async fn again(tenant: &Tenant, operation: &Operation) -> Replayed {
    let name = &operation.name;
    match &operation.request {
        Request::Ask(asked) => ask::again(tenant, asked, name).await,
        Request::Adjust { delta_milli } => {
            let sent = adjust::send(tenant, *delta_milli, name).await;
            let header = sent.as_ref().ok().and_then(|reply| reply.header("idempotency-replayed"));
            let said_so = header == Some("true");
            Replayed { heard: adjust::heard(sent), said_so }
        }
        // An event has an id and no key: the same event comes back, and that is all that is promised.
        Request::UsageEvent { tokens_in, cost_milli } => Replayed {
            heard: usage_event::attempt(tenant, *tokens_in, *cost_milli, name).await,
            said_so: true,
        },
    }
}

fn difference(operation: &Operation, replayed: Option<Replayed>) -> Option<Violation> {
    let first = operation.acknowledged()?;
    let why = match replayed {
        Some(Replayed { heard: Heard::Whole(again), said_so }) => match (*first == again, said_so) {
            (true, true) => return None,
            (true, false) => format!("{}: the reply does not say that it is a replay", operation.name),
            (false, _) => format!("{}: {first:?}, and again: {again:?}", operation.name),
        },
        Some(Replayed { heard, .. }) => format!("{}: {first:?}, and again: {heard:?}", operation.name),
        None => format!("{}: no reply within {ATTEMPT_BOUND:?}", operation.name),
    };
    Some(Violation::new(Fault::ReplayDiffers, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Outcome, Receipt};
    use serde_json::json;

    fn gift() -> Operation {
        Operation {
            tenant: 0,
            request: Request::Adjust { delta_milli: 5 },
            name: "op-gift".to_owned(),
            request_ids: Vec::new(),
            outcome: Outcome::Acknowledged(Receipt::Adjusted(json!({"balance": 5}))),
        }
    }

    fn told(heard: Heard, said_so: bool) -> bool {
        difference(&gift(), Some(Replayed { heard, said_so })).is_some()
    }

    #[test]
    fn only_the_first_reply_again_passes() {
        let reply = |balance| Heard::Whole(Receipt::Adjusted(json!({"balance": balance})));
        assert!(!told(reply(5), true));
        assert!(told(reply(10), true), "done again");
        assert!(told(reply(5), false), "it does not say that it is a replay");
        assert!(told(Heard::Refused { code: "idempotency_conflict".to_owned(), again: false }, true));
        assert!(difference(&gift(), None).is_some(), "no reply at all");
    }

    #[test]
    fn only_what_was_acknowledged_and_may_be_repeated_is_sent_again() {
        let unheard = Operation { outcome: Outcome::Unknown, ..gift() };
        assert_eq!(candidates(vec![gift(), unheard]).len(), 1);
    }
}
