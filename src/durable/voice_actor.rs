//! A voice session's actor as the shell holds it: commands, messages of its sockets, alarms.

use std::rc::Rc;

use actors::voice::Message;
use wasm_bindgen::prelude::*;
use worker::Env;

use super::voice::Voice;
use crate::platform::{config, task};

#[wasm_bindgen]
pub struct VoiceActor {
    voice: Rc<Voice>,
}

#[wasm_bindgen]
impl VoiceActor {
    #[wasm_bindgen(constructor)]
    pub fn new(state: JsValue, env: &Env) -> Self {
        Self { voice: Rc::new(Voice::new(state.unchecked_into(), env.clone(), config::get(env))) }
    }

    /// A command as text in, its answer as text out: nothing is awaited, so nothing can come between.
    pub fn answer(&self, call: &str) -> String {
        // A list of plain values has no way to fail; were there one, an empty answer is read as a fault.
        serde_json::to_string(&self.voice.answer(call)).unwrap_or_default()
    }

    /// Opens a socket with a command as text: the response for its client, or the command's answer as text.
    pub fn open(&self, call: &str) -> JsValue {
        self.voice.open_socket(call).unwrap_or_else(|refusal| {
            let answer: Result<(), _> = Err(refusal);
            JsValue::from_str(&serde_json::to_string(&answer).unwrap_or_default())
        })
    }

    /// A client's text. What is longer than any that is read was cut to one more.
    pub fn said(&self, socket: JsValue, text: String) {
        self.voice.heard(&socket.unchecked_into(), Message::Text(text));
    }

    /// A client's bytes, cut in the same way.
    pub fn heard(&self, socket: JsValue, bytes: Vec<u8>) {
        self.voice.heard(&socket.unchecked_into(), Message::Binary(bytes));
    }

    /// A socket is gone.
    pub fn left(&self, socket: JsValue) {
        self.voice.left(&socket.unchecked_into());
    }

    /// What is due, as task number `task`: `true`, at once.
    pub fn alarm(&self, task: u32) -> JsValue {
        let voice = Rc::clone(&self.voice);
        task::begin(task, async move {
            voice.ring();
            JsValue::TRUE
        })
    }
}
