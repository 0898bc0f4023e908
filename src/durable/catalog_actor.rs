//! The actor of the catalog, of which there is one: prices and skills, and every version of them.

use std::cell::{Cell, RefCell};

use actors::catalog::{self, Command, Reply};
use actors::shared::Refusal;
use wasm_bindgen::prelude::*;

use crate::platform::{log, now_ms, sql::Storage};

#[wasm_bindgen]
pub struct CatalogActor {
    storage: RefCell<Storage>,
    /// The tables are there.
    opened: Cell<bool>,
}

#[wasm_bindgen]
impl CatalogActor {
    #[wasm_bindgen(constructor)]
    pub fn new(storage: JsValue) -> Self {
        Self { storage: RefCell::new(Storage::new(storage)), opened: Cell::new(false) }
    }

    /// A [`Command`] as text in, its reply or a refusal as text out.
    pub fn answer(&self, call: &str) -> String {
        let answer = serde_json::from_str(call)
            .map_err(|error| Refusal::Storage { detail: format!("undecodable command: {error}") })
            .and_then(|command| self.run(command))
            .inspect_err(note);
        // A list of plain values has no way to fail; were there one, an empty answer is read as a fault.
        serde_json::to_string(&answer).unwrap_or_default()
    }

    /// Nothing of the catalog is ever due.
    pub fn alarm(&self, _task: u32) -> JsValue {
        JsValue::TRUE
    }

    fn run(&self, command: Command) -> Result<Reply, Refusal> {
        let busy = |_| Refusal::Storage { detail: "storage is in use within this turn".to_owned() };
        let mut storage = self.storage.try_borrow_mut().map_err(busy)?;
        let now_ms = now_ms();
        let mut waiting = Some(command);
        let reply = storage.transaction(|sql| {
            if !self.opened.get() {
                catalog::open(sql)?;
            }
            let command = waiting.take();
            let command = command.ok_or_else(|| Refusal::Storage { detail: "run twice".to_owned() })?;
            catalog::handle(sql, command, now_ms)
        })?;
        self.opened.set(true);
        Ok(reply)
    }
}

/// What an operator asks wrong is answered; what is wrong here is logged too.
fn note(refusal: &Refusal) {
    if matches!(refusal, Refusal::Storage { .. } | Refusal::Broken { .. }) {
        log::fault("catalog_refused", &refusal.to_string());
    }
}
