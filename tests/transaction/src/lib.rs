//! A Worker that fails on purpose between two statements, over the very storage code that ships.
//!
//! `tests/http/tests/transaction` drives it on workerd. What it shows: inside a transaction an error, a panic
//! and a wasm trap leave nothing behind; outside of one they do, which is why every command runs inside.

#[path = "../../../src/platform/sql.rs"]
mod sql;

use std::cell::RefCell;

use actors::shared::Refusal;
use actors::sql::Sql;
use sql::Storage;
use worker::{
    Context, DurableObject, Env, Request, Response, State, WebSocket, WebSocketIncomingMessage,
    durable_object, event,
};

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> worker::Result<Response> {
    env.durable_object("TENANT")?.get_by_name("probe")?.fetch_with_request(request).await
}

/// Named as the product's class, so that the product's bindings fit.
#[durable_object]
pub struct TenantActor {
    storage: RefCell<Storage>,
}

/// What happens between the two statements.
fn fail(how: &str) -> Result<(), Refusal> {
    match how {
        "error" => Err(Refusal::UnknownHold),
        "panic" => panic!("on purpose"),
        #[cfg(target_arch = "wasm32")]
        "trap" => core::arch::wasm32::unreachable(),
        _ => Ok(()),
    }
}

fn two_statements(sql: &mut Storage, how: &str) -> Result<(), Refusal> {
    sql.execute("INSERT INTO written VALUES ('first')", &[])?;
    fail(how)?;
    sql.execute("INSERT INTO written VALUES ('second')", &[])?;
    Ok(())
}

impl TenantActor {
    /// `/count`, `/inside/<how>` or `/bare/<how>`.
    fn run(&self, path: &str) -> Result<String, Refusal> {
        let mut storage = self.storage.borrow_mut();
        storage.execute("CREATE TABLE IF NOT EXISTS written (what TEXT)", &[])?;
        match path.trim_matches('/').split_once('/') {
            Some(("inside", how)) => storage.transaction(|sql| two_statements(sql, how))?,
            Some(("bare", how)) => two_statements(&mut storage, how)?,
            _ => {}
        }
        storage
            .text("SELECT COUNT(*) FROM written", &[])
            .map(Option::unwrap_or_default)
            .map_err(Refusal::from)
    }
}

impl DurableObject for TenantActor {
    fn new(state: State, _env: Env) -> Self {
        Self { storage: RefCell::new(Storage::new(state.storage().as_raw().clone().into())) }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        match self.run(&request.path()) {
            Ok(count) => Response::ok(count),
            Err(refusal) => Response::error(refusal.to_string(), 409),
        }
    }

    async fn websocket_message(&self, _: WebSocket, _: WebSocketIncomingMessage) -> worker::Result<()> {
        Ok(())
    }

    async fn websocket_close(&self, _: WebSocket, _: usize, _: String, _: bool) -> worker::Result<()> {
        Ok(())
    }

    async fn websocket_error(&self, _: WebSocket, _: worker::Error) -> worker::Result<()> {
        Ok(())
    }
}
