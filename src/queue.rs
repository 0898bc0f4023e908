//! The queue's consumer. No kind of message has one yet, so none is acknowledged: each goes back until the
//! queue moves it to its dead letters, where an operator finds it. Acknowledging would lose it. Nothing of ours sends one
//! yet either: messages, with the id of the request that made them, come with jobs.

use worker::{MessageBatch, QueueRetryOptionsBuilder};

use crate::platform::log;

/// How long a message rests before it comes again, in seconds.
const RETRY_DELAY_S: u32 = 30;

pub fn consume(batch: &MessageBatch<String>) {
    log::fault("queue_message_unknown", &batch.queue());
    let options = QueueRetryOptionsBuilder::new().with_delay_seconds(RETRY_DELAY_S).build();
    batch.retry_all_with_options(&options);
}
