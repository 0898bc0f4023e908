//! `GET /api/events`: a tenant's live events over a WebSocket. Here it is decided who may open one; the socket itself is
//! the actor's.

use std::rc::Rc;

use actors::tenant::{Command, Opening};
use actors::tickets::{self as rules, Purpose};

use super::context::{Context, unexpected};
use super::credentials::Liveness;
use super::error::ApiError;
use super::event_stream;
use super::reply::Reply;
use super::routed_secret::Presented;
use super::tickets::{self, Offered};
use crate::platform::tenant_stub;

pub const PATH: &str = "/api/events";
/// The subprotocol that is spoken on it.
pub const PROTOCOL: &str = "cog.events.v1";

/// Opens a socket for the holder of a ticket, or for whoever proves by a header or a cookie to be a tenant.
pub async fn open(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let inbound = &context.inbound;
    let upgrade = inbound.wants_socket();
    if inbound.method != "GET" || !(upgrade || inbound.wants_events()) {
        return Err(ApiError::UpgradeRequired);
    }
    let origin = context.page()?;
    if !upgrade {
        return event_stream::open(context).await;
    }
    let Offered { any, ours, ticket } =
        tickets::offered(inbound.header("sec-websocket-protocol").as_deref(), PROTOCOL)?;
    if any && !ours {
        let expected = "`cog.events.v1`, and beside it `cog.ticket.` with a ticket where that is the proof";
        return Err(ApiError::InvalidField { field: "Sec-WebSocket-Protocol", expected });
    }
    let after = inbound.query.get("after");
    let opened = match ticket {
        Some(ticket) => by_ticket(context, ticket, origin, after).await?,
        None => by_credential(context, after).await?,
    };
    let reply = Reply::socket(opened);
    // Only this one is ever said back: what else was offered is a secret.
    Ok(if ours { reply.with("sec-websocket-protocol", PROTOCOL) } else { reply })
}

/// The ticket says who it is, whatever else a browser sends along by itself.
async fn by_ticket(
    context: &Context,
    ticket: Presented,
    origin: Option<String>,
    after: Option<String>,
) -> Result<web_sys::Response, ApiError> {
    tickets::judge_beside(context, &ticket).await?;
    // Whose events it is said to be about: nobody but the ticket's own tenant is let in by it.
    let claimed = context.claimed()?;
    let shown = rules::Presented { digest: ticket.digest.clone(), purpose: Purpose::Events, origin };
    let opening = Opening { ticket: Some(shown), claimed, credential_ends_at_ms: None, after };
    let command = Command::OpenSocket(Box::new(opening));
    let opening = tenant_stub::open_socket(context.origin(), &ticket.actor, (None, None), command);
    let opened = tickets::judged(context, &ticket, opening).await?;
    context.acts_for_actor(ticket.actor);
    Ok(opened)
}

/// The actor's response with the socket in it.
pub async fn by_credential(context: &Context, after: Option<String>) -> Result<web_sys::Response, ApiError> {
    // The command carries the key that came along, so its actor says whether it is still live.
    context.presented(Liveness::InCommands).await?;
    let caller = context.caller().await?;
    let credential_ends_at_ms = context.token_ends_at_ms();
    let opening = Opening { ticket: None, claimed: None, credential_ends_at_ms, after };
    let (actor, who) =
        (tenant_stub::name_of(&caller.tenant), (Some(&caller.tenant), caller.api_key.as_deref()));
    let command = Command::OpenSocket(Box::new(opening));
    match tenant_stub::open_socket(context.origin(), &actor, who, command).await {
        Ok(opened) => Ok(opened),
        Err(refusal) => {
            Err(Context::heard(&caller, Err(refusal)).map_or_else(|error| error, |_| unexpected()))
        }
    }
}
