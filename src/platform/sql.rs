//! [`actors::sql::Sql`] over a Durable Object's SQLite, and the transaction that `worker` does not bind.
//!
//! Without `transactionSync`, writes made before an error or a trap in the same turn are kept: half a
//! command. Every command therefore runs inside [`Storage::transaction`].

use actors::shared::Refusal;
use actors::sql::{Sql, SqlError, SqlValue};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `DurableObjectStorage`, as far as commands need it.
    type JsStorage;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &JsStorage,
        closure: &mut dyn FnMut() -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, getter)]
    fn sql(this: &JsStorage) -> JsSql;

    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    fn set_alarm(this: &JsStorage, at_ms: f64) -> Result<js_sys::Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = deleteAll)]
    fn delete_all(this: &JsStorage) -> Result<js_sys::Promise, JsValue>;

    type JsSql;

    #[wasm_bindgen(method, catch, variadic)]
    fn exec(this: &JsSql, query: &str, bindings: &js_sys::Array) -> Result<JsCursor, JsValue>;

    type JsCursor;

    /// An iterator over rows as arrays of cells.
    #[wasm_bindgen(method, catch)]
    fn raw(this: &JsCursor) -> Result<js_sys::Iterator, JsValue>;
}

/// The storage of one Durable Object.
pub struct Storage {
    storage: JsStorage,
    sql: JsSql,
}

impl Storage {
    /// `storage` is the object's `DurableObjectStorage`.
    pub fn new(storage: JsValue) -> Self {
        let storage: JsStorage = storage.unchecked_into();
        let sql = storage.sql();
        Self { storage, sql }
    }

    /// Runs `command` in one synchronous transaction: kept when it is `Ok`, undone when it is `Err`, and
    /// undone by the runtime when it traps.
    ///
    /// # Errors
    /// The command's own refusal, or `Storage` when the runtime refuses the transaction.
    pub fn transaction<T>(
        &mut self,
        mut command: impl FnMut(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let storage = self.storage.clone().unchecked_into::<JsStorage>();
        let mut outcome = None;
        let mut body = || {
            let result = command(self);
            let undone = result.is_err();
            outcome = Some(result);
            // Throwing is how the runtime is told to undo; the refusal itself stays on this side.
            if undone { Err(JsValue::UNDEFINED) } else { Ok(JsValue::UNDEFINED) }
        };
        let ended = storage.transaction_sync(&mut body);
        match (outcome, ended) {
            (Some(Err(refusal)), _) => Err(refusal),
            (Some(Ok(reply)), Ok(_)) => Ok(reply),
            (_, Err(error)) => Err(Refusal::from(refused(&error))),
            (None, Ok(_)) => Err(Refusal::Storage { detail: "the transaction did not run".to_owned() }),
        }
    }

    /// Sets the object's one alarm. The write joins the commands of this turn; nothing waits for it.
    ///
    /// # Errors
    /// `Storage` when the runtime refuses.
    pub fn set_alarm(&self, at_ms: i64) -> Result<(), Refusal> {
        #[allow(clippy::cast_precision_loss)]
        let at_ms = at_ms as f64;
        let set = self.storage.set_alarm(at_ms);
        set.map(|_promise| ()).map_err(|error| Refusal::from(refused(&error)))
    }

    /// Deletes everything that the object stores, its alarm too; without storage it ends.
    ///
    /// # Errors
    /// `Storage` when the runtime refuses.
    pub fn delete_all(&self) -> Result<(), Refusal> {
        let deleted = self.storage.delete_all();
        deleted.map(|_promise| ()).map_err(|error| Refusal::from(refused(&error)))
    }

    fn run(&self, sql: &str, args: &[SqlValue]) -> Result<JsCursor, SqlError> {
        let bindings = js_sys::Array::new_with_length(0);
        for arg in args {
            bindings.push(&bound(arg)?);
        }
        self.sql.exec(sql, &bindings).map_err(|error| refused(&error))
    }
}

impl Sql for Storage {
    fn execute(&mut self, sql: &str, args: &[SqlValue]) -> Result<(), SqlError> {
        self.run(sql, args).map(|_cursor| ())
    }

    fn text(&mut self, sql: &str, args: &[SqlValue]) -> Result<Option<String>, SqlError> {
        let rows = self.run(sql, args)?.raw().map_err(|error| refused(&error))?;
        let first = rows.next().map_err(|error| refused(&error))?;
        if first.done() {
            return Ok(None);
        }
        let cell = first.value().unchecked_into::<js_sys::Array>().get(0);
        if let Some(text) = cell.as_string() {
            return Ok(Some(text));
        }
        match cell.as_f64() {
            Some(number) => Ok(Some(number.to_string())),
            None if cell.is_null() => Ok(None),
            None => Err(SqlError::Other("a cell that is neither text nor number".to_owned())),
        }
    }
}

/// Integers cross as doubles, so those that a double cannot hold are refused instead of rounded.
fn bound(value: &SqlValue) -> Result<JsValue, SqlError> {
    const EXACT_MAX: u64 = (1 << 53) - 1;
    Ok(match value {
        SqlValue::Null => JsValue::NULL,
        SqlValue::Text(text) => JsValue::from_str(text),
        SqlValue::Integer(number) if number.unsigned_abs() <= EXACT_MAX => {
            #[allow(clippy::cast_precision_loss)]
            let exact = *number as f64;
            JsValue::from_f64(exact)
        }
        SqlValue::Integer(number) => {
            return Err(SqlError::Other(format!("{number} is beyond the platform's integers")));
        }
    })
}

fn refused(error: &JsValue) -> SqlError {
    let message = error
        .dyn_ref::<js_sys::Error>()
        .map_or_else(|| "storage refused without an error".to_owned(), |error| String::from(error.message()));
    SqlError::from_message(message)
}
