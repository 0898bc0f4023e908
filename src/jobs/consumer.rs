//! The queue's consumer: each message calls a worker to one tenant.

use ::worker::Env;
use futures::future::join_all;
use wasm_bindgen::JsValue;

use super::worker::{self, ROUTE};
use crate::edge::operation::Operation;
use crate::platform::queue::{Batch, Delivered, Message};
use crate::platform::{config, log, now_ms};

/// How long a worker goes on to the tenant's next job. Each place that a job gives up sends a message anyway; this only
/// spares short jobs the way through the queue. What it took by then it still does.
const WORK_ON_MS: i64 = 1_000;

/// Does what the messages call for, all at once. A message that is none of ours is not acknowledged: it goes back until
/// the queue moves it to its dead letters, where an operator finds it.
pub async fn consume(batch: &Batch, env: Env, event: JsValue) {
    let config = config::get(&env);
    let all = batch.all();
    let attended = all.iter().map(|delivered| {
        let message = delivered.text().and_then(|text| Message::read(&text));
        let (env, config, event) = (env.clone(), config.clone(), event.clone());
        async move {
            let Some(message) = message else {
                note(&batch.queue(), delivered);
                return delivered.again();
            };
            let request_id = message.request_id.clone();
            let operation = Operation { env, config, request_id, route: ROUTE, event };
            attend(&operation, &message, delivered).await;
        }
    });
    join_all(attended).await;
}

/// Answers one message, and does what it called for.
async fn attend(operation: &Operation, message: &Message, delivered: &Delivered) {
    let until_ms = now_ms().saturating_add(WORK_ON_MS);
    let mut leased = match worker::lease(operation, &message.tenant, Some(&message.job)).await {
        Ok(leased) => leased,
        // Its actor was not reached. It sends another message by itself; this one comes again besides.
        Err(_) => return delivered.again(),
    };
    delivered.ack();
    while let Some(job) = leased {
        worker::work(operation, &message.tenant, job).await;
        if now_ms() >= until_ms {
            return;
        }
        leased = worker::lease(operation, &message.tenant, None).await.unwrap_or(None);
    }
}

/// Whoever may write to the queue may write anything, and an id goes into the log.
fn note(queue: &str, delivered: &Delivered) {
    match delivered.text().as_deref().and_then(request_id_of) {
        Some(request_id) => log::fault_of(&request_id, "queue_message_unknown", queue),
        None => log::fault("queue_message_unknown", queue),
    }
}

fn request_id_of(body: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Envelope {
        request_id: String,
    }
    let Envelope { request_id } = serde_json::from_str(body).ok()?;
    log::is_request_id(&request_id).then_some(request_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_is_taken_for_one() {
        let id = "9fac6da5-35a4-4b79-a12f-7bba88101788";
        let body = |id: &str| serde_json::json!({ "request_id": id, "kind": "mail" }).to_string();
        assert_eq!(request_id_of(&body(id)).as_deref(), Some(id));
        for none in ["", "{}", "[]", "text", r#"{"request_id":7}"#] {
            assert_eq!(request_id_of(none), None, "{none}");
        }
        for odd in ["", "a b", "a\nb", "é", &"x".repeat(65)] {
            assert_eq!(request_id_of(&body(odd)), None, "{odd:?}");
        }
    }
}
