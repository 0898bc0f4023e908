//! The shell of the Tenant actor: the platform's handlers around [`Tenant`].

use std::rc::Rc;

use worker::{
    DurableObject, Env, Request, Response, State, WebSocket, WebSocketIncomingMessage, durable_object,
};

use super::group;
use super::tenant::Tenant;
use crate::platform::{config, log, now_ms, sql::Storage};

#[durable_object]
pub struct TenantActor {
    tenant: Rc<Tenant>,
}

/// How long after a failed alarm the next one rings: the runtime gives up after six tries, this does not.
const ALARM_RETRY_MS: i64 = 30_000;

impl DurableObject for TenantActor {
    fn new(state: State, env: Env) -> Self {
        let storage = Storage::new(&state.storage());
        Self { tenant: Rc::new(Tenant::new(storage, config::get(&env))) }
    }

    /// A command as bytes in, its answer as bytes out. Only the front door can reach this.
    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let call = request.bytes().await?;
        let answer = group::submit(&self.tenant, call).await;
        Response::from_bytes(serde_json::to_vec(&answer)?)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        match self.tenant.ring() {
            Ok(deliveries) => self.tenant.deliver_all(deliveries).await,
            Err(refusal) => {
                log::fault("alarm_failed", &refusal.to_string());
                self.tenant.arm_later(now_ms().saturating_add(ALARM_RETRY_MS));
            }
        }
        Response::empty()
    }

    // The trait's own socket handlers panic, and a panic takes the memory of every actor beside this one.
    async fn websocket_message(&self, ws: WebSocket, _: WebSocketIncomingMessage) -> worker::Result<()> {
        ws.close(Some(1008), Some("no sockets here"))
    }

    async fn websocket_close(&self, _: WebSocket, _: usize, _: String, _: bool) -> worker::Result<()> {
        Ok(())
    }

    async fn websocket_error(&self, _: WebSocket, _: worker::Error) -> worker::Result<()> {
        Ok(())
    }
}
