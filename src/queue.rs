//! The queue's consumer. No kind of message has one yet, so none is acknowledged: each goes back until the
//! queue moves it to its dead letters, where an operator finds it. Acknowledging would lose it. Messages come with jobs.
//!
//! Every message is a JSON object with the `request_id` of the request that made it, and every line in the log about a
//! message says it: so one id goes from the front door through the queue.

use serde::Deserialize;
use worker::{MessageBatch, QueueRetryOptionsBuilder};

use crate::platform::log;

/// How long a message rests before it comes again, in seconds.
const RETRY_DELAY_S: u32 = 30;

/// What every message has.
#[derive(Deserialize)]
struct Envelope {
    request_id: String,
}

pub fn consume(batch: &MessageBatch<String>) {
    let queue = batch.queue();
    match batch.messages() {
        Ok(messages) => messages.iter().for_each(|message| note(&queue, message.body())),
        // One of them is no text.
        Err(_) => log::fault("queue_message_unknown", &queue),
    }
    let options = QueueRetryOptionsBuilder::new().with_delay_seconds(RETRY_DELAY_S).build();
    batch.retry_all_with_options(&options);
}

fn note(queue: &str, body: &str) {
    match request_id_of(body) {
        Some(request_id) => log::fault_of(&request_id, "queue_message_unknown", queue),
        None => log::fault("queue_message_unknown", queue),
    }
}

/// Whoever may write to the queue may write anything, and an id goes into the log.
fn request_id_of(body: &str) -> Option<String> {
    let Envelope { request_id } = serde_json::from_str(body).ok()?;
    log::is_request_id(&request_id).then_some(request_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_is_taken_for_one() {
        let id = "9fac6da5-35a4-4b79-a12f-7bba88101788";
        let body = |id: &str| serde_json::json!({ "request_id": id, "kind": "job" }).to_string();
        assert_eq!(request_id_of(&body(id)).as_deref(), Some(id));
        for none in ["", "{}", "[]", "text", r#"{"request_id":7}"#] {
            assert_eq!(request_id_of(none), None, "{none}");
        }
        for odd in ["", "a b", "a\nb", "é", &"x".repeat(65)] {
            assert_eq!(request_id_of(&body(odd)), None, "{odd:?}");
        }
    }
}
