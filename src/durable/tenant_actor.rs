//! The Tenant actor as the shell holds it: commands and alarms, with the platform's storage under [`Tenant`].

use wasm_bindgen::prelude::*;
use worker::Env;

use super::tenant::Tenant;
use crate::platform::tenant_stub::Answered;
use crate::platform::{config, log, now_ms, task};

#[wasm_bindgen]
pub struct TenantActor {
    tenant: std::rc::Rc<Tenant>,
}

/// How long after a failed alarm the next one rings: the runtime gives up after six tries, this does not.
const ALARM_RETRY_MS: i64 = 30_000;

#[wasm_bindgen]
impl TenantActor {
    #[wasm_bindgen(constructor)]
    pub fn new(state: JsValue, env: &Env) -> Self {
        Self { tenant: std::rc::Rc::new(Tenant::new(state.unchecked_into(), env.clone(), config::get(env))) }
    }

    /// A command as text in, its answer as text out: nothing is awaited, so nothing can come between.
    pub fn answer(&self, call: &str) -> String {
        let answered = self.tenant.answer(call);
        // A list of plain values has no way to fail; were there one, an empty answer is read as a fault.
        serde_json::to_string(&answered).unwrap_or_default()
    }

    /// Opens a socket with a command as text: the response for its client, or the command's answer as text.
    pub fn open(&self, call: &str) -> JsValue {
        self.tenant.open_socket(call).unwrap_or_else(|refusal| {
            let answered = Answered { answer: Err(refusal), standing: None };
            JsValue::from_str(&serde_json::to_string(&answered).unwrap_or_default())
        })
    }

    /// Tells the sockets what was committed since they were told last.
    pub fn tell(&self) {
        self.tenant.tell();
    }

    /// A message of a client. `message` is absent when it is no text, or longer than any that is read.
    pub fn heard(&self, socket: JsValue, message: Option<String>, length: u32) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = message.as_ref().map_or(length, |text| text.len().max(length));
        self.tenant.heard(&socket.unchecked_into(), message.as_deref(), bytes);
    }

    /// What is due, as task number `task`: `true` when it is done at once, else `undefined`, and `true` by `finish`.
    pub fn alarm(&self, task: u32) -> JsValue {
        let tenant = std::rc::Rc::clone(&self.tenant);
        task::begin(task, async move {
            match tenant.ring() {
                Ok(after) => {
                    tenant.tell();
                    tenant.attend(after).await;
                }
                Err(refusal) => {
                    log::fault("alarm_failed", &refusal.to_string());
                    tenant.arm_later(now_ms().saturating_add(ALARM_RETRY_MS));
                }
            }
            JsValue::TRUE
        })
    }
}
