//! The queue: messages that say that there is a job to do, as they are sent and as they come.
//!
//! Nothing depends on a message: the actor sends it again until somebody has come for the job.

use actors::jobs::Nudge;
use actors::shared::TenantId;
use js_sys::{Array, Promise};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use worker::Env;

use super::hop::words;
use super::sockets::ObjectState;
use super::task::{self, settled};
use super::{log, random_id};

/// What messages about jobs are called.
const KIND: &str = "job";
/// How long a message rests that nobody could be reached for, in seconds.
const RETRY_DELAY_S: u32 = 30;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = cognomega)]
    fn enqueue(env: &Env, bodies: &str) -> Result<Promise, JsValue>;

    /// The messages that one call of the consumer brings.
    pub type Batch;

    #[wasm_bindgen(method, getter)]
    pub fn queue(this: &Batch) -> String;

    #[wasm_bindgen(method, getter)]
    fn messages(this: &Batch) -> Array;

    /// One message. Whatever its end, the runtime is told by [`Delivered::ack`] or [`Delivered::again`].
    #[derive(Clone)]
    pub type Delivered;

    #[wasm_bindgen(method, getter)]
    fn body(this: &Delivered) -> JsValue;

    #[wasm_bindgen(method)]
    pub fn ack(this: &Delivered);

    #[wasm_bindgen(method)]
    fn retry(this: &Delivered, options: &JsValue);
}

impl Batch {
    pub fn all(&self) -> Vec<Delivered> {
        self.messages().iter().map(JsValue::unchecked_into).collect()
    }
}

impl Delivered {
    /// The text it carries; `None` when it is none.
    pub fn text(&self) -> Option<String> {
        self.body().as_string()
    }

    /// Has it come again, until the queue moves it to its dead letters.
    pub fn again(&self) {
        let options = js_sys::Object::new();
        let _set = js_sys::Reflect::set(&options, &"delaySeconds".into(), &RETRY_DELAY_S.into());
        self.retry(&options);
    }
}

/// What a message says: whose actor has something to do, and which job it was sent for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The request in which it was sent; an alarm's has an id of its own.
    pub request_id: String,
    kind: String,
    pub tenant: TenantId,
    pub job: String,
}

impl Message {
    /// Reads one; `None` for anything that [`send`] did not write.
    pub fn read(text: &str) -> Option<Self> {
        let message: Self = serde_json::from_str(text).ok()?;
        (message.kind == KIND && log::is_request_id(&message.request_id)).then_some(message)
    }
}

/// Sends what a command asked for, after its commit: the runtime holds what leaves an actor back until that is on disk.
/// Nobody waits for it, and what is lost is sent again.
pub fn send(env: &Env, state: &ObjectState, tenant: &TenantId, nudges: Vec<Nudge>) {
    if nudges.is_empty() {
        return;
    }
    let request_id = log::request_id().unwrap_or_else(random_id);
    let bodies: Vec<Message> = nudges
        .into_iter()
        .map(|nudge| Message {
            request_id: request_id.clone(),
            kind: KIND.to_owned(),
            tenant: tenant.clone(),
            job: nudge.job,
        })
        .collect();
    let Ok(bodies) = serde_json::to_string(&bodies) else { return };
    let failed = move |error: &JsValue| log::fault_of(&request_id, "nudge_not_sent", &words(error));
    match enqueue(env, &bodies) {
        Err(error) => failed(&error),
        Ok(sent) => task::keep_alive(state, async move {
            if let Err(error) = settled(&sent).await {
                failed(&error);
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "9fac6da5-35a4-4b79-a12f-7bba88101788";

    #[test]
    fn only_what_was_written_here_is_read() {
        let message = |id: &str, kind: &str| {
            serde_json::json!({ "request_id": id, "kind": kind, "tenant": { "email": "a@x.io" }, "job": "j" })
                .to_string()
        };
        let read = Message::read(&message(ID, KIND)).unwrap();
        assert_eq!((read.job.as_str(), read.tenant.label()), ("j", "a@x.io"));
        for odd in ["", "a b", "a\nb", "é", &"x".repeat(65)] {
            assert_eq!(Message::read(&message(odd, KIND)), None, "{odd:?}");
        }
        assert_eq!(Message::read(&message(ID, "mail")), None);
        for none in ["", "{}", "[]", "text", r#"{"request_id":7}"#] {
            assert_eq!(Message::read(none), None, "{none}");
        }
    }
}
