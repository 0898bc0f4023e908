//! Tickets for sockets: `POST /api/tickets` makes one, and a WebSocket shows it among its subprotocols, where neither
//! an address nor a log has it.

use actors::shared::{Refusal, TenantId};
use actors::tenant::{Command, Reply as ActorReply};
use actors::tickets::{NewTicket, Purpose};
use serde::Deserialize;
use serde_json::{Value, json};

use super::address_limits;
use super::context::{Context, unexpected};
use super::credentials::Liveness;
use super::error::ApiError;
use super::events;
use super::json_body;
use super::known_keys;
use super::limits::JSON_BODY_BYTES_MAX;
use super::moment::iso_time;
use super::reply::Reply;
use super::routed_secret::{self, Kind, Presented};
use crate::platform::{now_ms, random_bytes, tenant_stub};

/// What a subprotocol begins with that is a ticket.
const SUBPROTOCOL: &str = "cog.ticket.";
const KIND: Kind = Kind("cog.ticket");

#[derive(Deserialize)]
struct TicketBody {
    purpose: Option<Value>,
}

/// `POST {purpose}` → the ticket, this once, for the page that asks.
pub async fn mint(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let origin = context.page()?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    if context.idempotency(&caller, &bytes)?.is_some() {
        // The same ticket could not be given again: only its digest is kept.
        return Err(ApiError::InvalidField {
            field: "Idempotency-Key",
            expected: "none: who lost a ticket asks for another",
        });
    }
    let body: TicketBody = json_body::parse(&bytes)?;
    let wrong = ApiError::InvalidField { field: "purpose", expected: "`events`" };
    let purpose = body.purpose.and_then(|purpose| Purpose::deserialize(purpose).ok());
    // That of a voice session comes with the session.
    let purpose = purpose.filter(|purpose| *purpose == Purpose::Events).ok_or(wrong)?;
    let secret = random_bytes();
    let ticket = compose(&caller.tenant, &secret).ok_or_else(unexpected)?;
    let new = NewTicket {
        digest: routed_secret::digest(&secret),
        purpose,
        origin,
        credential_ends_at_ms: context.token_ends_at_ms(),
    };
    let reply = context.ask_actor(&caller, Command::MintTicket(new)).await?;
    let ActorReply::Ticket { expires_at_ms } = reply else {
        return Err(unexpected());
    };
    Ok(Reply::json(
        201,
        &json!({
            "ticket": ticket,
            "url": context.inbound.socket_url(events::PATH),
            "protocol": events::PROTOCOL,
            "expires_at": iso_time(expires_at_ms),
        }),
    ))
}

pub(super) fn compose(tenant: &TenantId, secret: &[u8; 32]) -> Option<String> {
    KIND.compose(&tenant_stub::name_of(tenant), secret)
}

/// What a program sends beside a ticket must be good too, and of the ticket's own tenant.
///
/// # Errors
/// As of any credential; `IdentityMismatch`.
pub async fn judge_beside(context: &Context, ticket: &Presented) -> Result<(), ApiError> {
    if context.inbound.header_filled("authorization").is_some() {
        let proven = context.presented(Liveness::Now).await?.tenant()?;
        if proven.is_some_and(|tenant| tenant_stub::name_of(&tenant) != ticket.actor) {
            return Err(ApiError::IdentityMismatch);
        }
    }
    Ok(())
}

/// Has the ticket's actor judge it by what `asked` asks.
///
/// # Errors
/// `TicketInvalid`; `RateLimited` for an address that guesses; the actor's other refusals.
pub async fn judged<T>(
    context: &Context,
    ticket: &Presented,
    asked: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, ApiError> {
    guess(context, ticket, &Refusal::UnknownTicket, asked).await?.map_err(|refusal| match refusal {
        // Its key was ended since.
        Refusal::UnknownApiKey => ApiError::TicketInvalid,
        refusal => refusal.into(),
    })
}

/// Asks an actor about what anybody may have made up. A guess wakes an actor, as one at an API key does, and is counted
/// with those; `wrong` is how the actor says that it was one.
///
/// # Errors
/// `RateLimited` for an address that guesses; `Unavailable`.
pub async fn guess<T>(
    context: &Context,
    presented: &Presented,
    wrong: &Refusal,
    asked: impl Future<Output = Result<T, Refusal>>,
) -> Result<Result<T, Refusal>, ApiError> {
    let address = context.address();
    let _asking = known_keys::turn_of_ticket(presented, address).await?;
    let answer = asked.await;
    // Right, or without a verdict: no guess.
    if answer.as_ref().err() != Some(wrong) {
        address_limits::key_was_right(address, now_ms());
    }
    Ok(answer)
}

/// What a client offers to speak.
#[derive(Debug, PartialEq, Eq)]
pub struct Offered {
    /// Whether it offered anything; then the answer must choose.
    pub any: bool,
    /// Whether the protocol that is spoken here is among it.
    pub ours: bool,
    /// The ticket among it.
    pub ticket: Option<Presented>,
}

/// Reads a `Sec-WebSocket-Protocol`.
///
/// # Errors
/// `TicketInvalid` for a ticket that cannot be one, and for several.
pub fn offered(header: Option<&str>, protocol: &str) -> Result<Offered, ApiError> {
    let names = || header.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut tickets = names().filter_map(|name| name.strip_prefix(SUBPROTOCOL));
    let ticket =
        tickets.next().map(|ticket| KIND.present(ticket).ok_or(ApiError::TicketInvalid)).transpose()?;
    if tickets.next().is_some() {
        return Err(ApiError::TicketInvalid);
    }
    Ok(Offered { any: names().next().is_some(), ours: names().any(|name| name == protocol), ticket })
}

/// The ticket among what is offered, in its letters.
pub fn letters(header: Option<&str>) -> Option<&str> {
    header.unwrap_or_default().split(',').find_map(|name| name.trim().strip_prefix(SUBPROTOCOL))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> String {
        compose(&TenantId::from_email("me@x.io").unwrap(), &[7; 32]).unwrap()
    }

    #[test]
    fn a_ticket_is_found_among_what_is_offered() {
        let ticket = ticket();
        assert!(ticket.len() == 91 && !ticket.starts_with("cog_"), "{ticket}");
        let header = format!("cog.events.v1, cog.ticket.{ticket}");
        let found = offered(Some(&header), "cog.events.v1").unwrap();
        assert_eq!((found.any, found.ours), (true, true));
        let actor = TenantId::from_email("me@x.io").unwrap().actor_name("tenant");
        assert_eq!(found.ticket, Some(Presented { actor, digest: routed_secret::digest(&[7; 32]) }));
        let none = Offered { any: false, ours: false, ticket: None };
        assert_eq!(offered(None, "cog.events.v1"), Ok(none));
        let other = offered(Some("chat"), "cog.events.v1").unwrap();
        assert_eq!((other.any, other.ours, other.ticket), (true, false, None));
    }

    #[test]
    fn what_is_no_ticket_or_two_is_refused() {
        let ticket = ticket();
        for header in [
            "cog.ticket.".to_owned(),
            "cog.ticket.AAAA".to_owned(),
            format!("cog.ticket.{}", &ticket[1..]),
            format!("cog.ticket.{ticket}, cog.ticket.{ticket}"),
        ] {
            assert_eq!(offered(Some(&header), "cog.events.v1"), Err(ApiError::TicketInvalid), "{header}");
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_offered(header in "\\PC{0,200}") {
            let _plain = offered(Some(&header), "cog.events.v1");
            let _prefixed = offered(Some(&format!("cog.ticket.{header}")), "cog.events.v1");
        }
    }
}
