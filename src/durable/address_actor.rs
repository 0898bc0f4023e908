//! The actor of one network address, or of all of them together: what it may do, counted for every isolate.

use std::cell::{Cell, RefCell};

use actors::addresses::{self, Count, Verdict};
use actors::shared::Refusal;
use wasm_bindgen::prelude::*;

use super::alarm::Alarm;
use crate::platform::{log, now_ms, sql::Storage};

#[wasm_bindgen]
pub struct AddressActor {
    storage: RefCell<Storage>,
    /// The table is there. An object that has forgotten everything has none.
    opened: Cell<bool>,
    alarm: Cell<Alarm>,
}

#[wasm_bindgen]
impl AddressActor {
    #[wasm_bindgen(constructor)]
    pub fn new(storage: JsValue) -> Self {
        let storage = RefCell::new(Storage::new(storage));
        Self { storage, opened: Cell::new(false), alarm: Cell::default() }
    }

    /// A [`Count`] as text in, its verdict or a refusal as text out.
    pub fn answer(&self, call: &str) -> String {
        let answer = serde_json::from_str(call)
            .map_err(|error| Refusal::Storage { detail: format!("undecodable count: {error}") })
            .and_then(|asked| self.count(&asked))
            .inspect_err(|refusal| log::fault("address_not_counted", &refusal.to_string()));
        // A list of plain values has no way to fail; were there one, an empty answer is read as a fault.
        serde_json::to_string(&answer).unwrap_or_default()
    }

    /// Forgets what says nothing any more; when nothing is left, the object ends with its storage.
    pub fn alarm(&self, _task: u32) -> JsValue {
        self.alarm.set(Alarm::default());
        if let Err(refusal) = self.forget() {
            log::fault("address_not_forgotten", &refusal.to_string());
        }
        JsValue::TRUE
    }

    fn count(&self, asked: &Count) -> Result<Verdict, Refusal> {
        let mut storage = self.storage.try_borrow_mut().map_err(|_| busy())?;
        let now_ms = now_ms();
        let counted = storage.transaction(|sql| {
            if !self.opened.get() {
                addresses::open(sql)?;
            }
            addresses::count(sql, asked, now_ms)
        })?;
        self.opened.set(true);
        if let Some(at_ms) = counted.wake_by_ms {
            self.arm(&storage, at_ms)?;
        }
        Ok(counted.verdict)
    }

    fn forget(&self) -> Result<(), Refusal> {
        let mut storage = self.storage.try_borrow_mut().map_err(|_| busy())?;
        let now_ms = now_ms();
        let next = storage.transaction(|sql| {
            addresses::open(sql)?;
            addresses::forget(sql, now_ms)
        })?;
        match next {
            Some(at_ms) => self.arm(&storage, at_ms),
            None => {
                self.opened.set(false);
                storage.delete_all()
            }
        }
    }

    fn arm(&self, storage: &Storage, at_ms: i64) -> Result<(), Refusal> {
        let mut alarm = self.alarm.get();
        if let Some(at_ms) = alarm.wants(at_ms) {
            storage.set_alarm(at_ms)?;
            alarm.armed(at_ms);
            self.alarm.set(alarm);
        }
        Ok(())
    }
}

fn busy() -> Refusal {
    Refusal::Storage { detail: "storage is in use within this turn".to_owned() }
}
