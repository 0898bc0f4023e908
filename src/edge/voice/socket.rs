//! `GET /api/voice/sessions/:id/ws`: a session's socket. With the session's ticket it is its first one; without, whoever
//! comes back says by its first message who it is.

use actors::shared::{Refusal, TenantId};
use actors::tenant::{Command, Reply as ActorReply, VoiceCommand, VoiceReply};
use actors::tickets::{self as rules, Purpose};
use sha2::{Digest, Sha256};

use super::super::context::{Context, unexpected};
use super::super::error::ApiError;
use super::super::reply::Reply;
use super::super::routed_secret::Presented;
use super::super::tickets::{self, Offered};
use super::PROTOCOL;
use super::sessions::id;
use crate::platform::tenant_stub;
use crate::platform::voice_stub::{self, VoiceAsked};

pub async fn open(context: &Context) -> Result<Reply, ApiError> {
    let inbound = &context.inbound;
    if inbound.method != "GET" || !inbound.wants_socket() {
        return Err(ApiError::UpgradeRequired);
    }
    let origin = context.page()?;
    let session = id(context)?;
    let header = inbound.header("sec-websocket-protocol");
    let Offered { ours, ticket, .. } = tickets::offered(header.as_deref(), PROTOCOL)?;
    if !ours {
        let expected = "`cog.voice.v1`, and beside it `cog.ticket.` with the ticket for the first socket";
        return Err(ApiError::InvalidField { field: "Sec-WebSocket-Protocol", expected });
    }
    let asked = match ticket {
        Some(ticket) => {
            // A client that lost the welcome comes back with its ticket: that is its token then.
            let letters = tickets::letters(header.as_deref()).unwrap_or_default();
            let ticket_digest = format!("{:x}", Sha256::digest(letters));
            let tenant = redeemed(context, ticket, &session, origin).await?;
            VoiceAsked::Attach { tenant, ticket_digest }
        }
        None => VoiceAsked::Return,
    };
    let opened = by(context, &session, asked).await?;
    // Only this one is ever said back: what else was offered is a secret.
    Ok(Reply::socket(opened).with("sec-websocket-protocol", PROTOCOL))
}

/// Takes the ticket; whose it was.
async fn redeemed(
    context: &Context,
    ticket: Presented,
    session: &str,
    origin: Option<String>,
) -> Result<TenantId, ApiError> {
    tickets::judge_beside(context, &ticket).await?;
    let claimed = context.claimed()?;
    if claimed.is_some_and(|tenant| tenant_stub::name_of(&tenant) != ticket.actor) {
        return Err(ApiError::TicketInvalid);
    }
    let purpose = Purpose::Voice { session: session.to_owned() };
    let shown = rules::Presented { digest: ticket.digest.clone(), purpose, origin };
    let command = Command::Voice(Box::new(VoiceCommand::Redeem(shown)));
    let redeeming = tenant_stub::send_to(context.origin(), &ticket.actor, command);
    let redeemed = tickets::judged(context, &ticket, redeeming).await?;
    context.acts_for_actor(ticket.actor);
    match redeemed {
        ActorReply::Voice(reply) => match *reply {
            VoiceReply::Redeemed { tenant } => Ok(tenant),
            _ => Err(unexpected()),
        },
        _ => Err(unexpected()),
    }
}

/// The actor's response with the socket in it. An id that is nobody's wakes an actor too, and is counted with the guesses.
async fn by(context: &Context, session: &str, asked: VoiceAsked) -> Result<web_sys::Response, ApiError> {
    let presented = Presented { actor: voice_stub::name_of(session), digest: session.to_owned() };
    let opening = voice_stub::open_socket(context.origin(), session, asked);
    Ok(tickets::guess(context, &presented, &Refusal::UnknownVoiceSession, opening).await??)
}
