//! The actor of one skill's experiment, or of the list of all skills that have one.

use std::cell::RefCell;

use actors::experiment::{self, Call, Reply};
use actors::shared::Refusal;
use wasm_bindgen::prelude::*;

use crate::platform::{log, now_ms, random_seed, sql::Storage};

#[wasm_bindgen]
pub struct ExperimentActor {
    storage: RefCell<Storage>,
}

#[wasm_bindgen]
impl ExperimentActor {
    #[wasm_bindgen(constructor)]
    pub fn new(storage: JsValue) -> Self {
        Self { storage: RefCell::new(Storage::new(storage)) }
    }

    /// A [`Call`] as text in, its reply or a refusal as text out.
    pub fn answer(&self, call: &str) -> String {
        let answer = match serde_json::from_str::<Call>(call) {
            Ok(call) => log::within(Some(call.request_id.clone()), || self.run(&call)),
            Err(error) => Err(Refusal::Storage { detail: format!("undecodable command: {error}") }),
        };
        // Plain values have no way to fail; were there one, an empty answer is read as a fault.
        serde_json::to_string(&answer).unwrap_or_default()
    }

    /// One command, one transaction. Nothing is awaited, so nothing can come between.
    fn run(&self, call: &Call) -> Result<Reply, Refusal> {
        let busy = |_| Refusal::Storage { detail: "storage is in use within this turn".to_owned() };
        let mut storage = self.storage.try_borrow_mut().map_err(busy)?;
        let (seed, now_ms) = (random_seed(), now_ms());
        let answer = storage.transaction(|sql| experiment::handle(sql, call, seed, now_ms));
        if let Err(refusal @ (Refusal::Broken { .. } | Refusal::Storage { .. })) = &answer {
            log::fault("experiment_command_failed", &refusal.to_string());
        }
        answer
    }
}
