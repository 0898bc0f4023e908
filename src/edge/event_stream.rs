//! `GET /api/events` with `Accept: text/event-stream`: the same live events as over a socket, for whoever has none.
//!
//! The front door is the actor's listener in the client's place: it passes on what the socket brings, and says that it
//! came once the client took it. So places, windows and bounds are those of the socket.

use std::rc::Rc;

use actors::events::ACK_WAIT_MS_MAX;
use serde::Deserialize;
use serde_json::json;

use super::context::{Context, unexpected};
use super::error::ApiError;
use super::events;
use super::reply::Reply;
use crate::platform::client_socket::{Came, ClientSocket};
use crate::platform::detached::{self, ClientWatch};
use crate::platform::streams::{self, Broken, ByteWriter};
use crate::platform::{now_ms, timer};

/// How long one stream lasts; then its client comes again by itself, with the id of the last event that it has. It is
/// below the age at which the shell takes a task for lost.
const STREAM_MS_MAX: i64 = 900_000;
/// How often something is sent at least. The runtime tells of a client that is gone when it is written to and not before,
/// and until then its socket takes one of the tenant's places.
const PING_MS: i64 = 10_000;
/// How soon a client is asked to come again, in milliseconds.
const RETRY_MS: u32 = 1_000;
/// After how many events the actor is told that they came: half of what it sends without hearing so.
const EVENTS_BETWEEN_ACKS: u32 = 256;
/// How long after the last time it is told so of fewer, so that a client that reads slowly is not taken for one that is
/// gone: a third of what the actor waits.
const BETWEEN_ACKS_MS: i64 = ACK_WAIT_MS_MAX / 3;

/// Opens a stream for whoever proves by a header or a cookie to be a tenant.
pub async fn open(context: &Rc<Context>) -> Result<Reply, ApiError> {
    // A client that comes again by itself says where it was in the header, at an address that has not changed.
    let header = context.inbound.header_filled("last-event-id");
    let after = header.or_else(|| context.inbound.query.get("after"));
    let opened = events::by_credential(context, after).await?;
    let socket = ClientSocket::accept(&opened).ok_or_else(unexpected)?;
    let (writer, readable) = streams::pipe().map_err(|_| unexpected())?;
    let shared = Rc::clone(context);
    let reply = detached::first_value(&context.event, move |reply_to| async move {
        if reply_to.send(Reply::events(readable)).is_ok() {
            let watch = ClientWatch::new(shared.inbound.signal());
            let _gone = watch.unless_gone(relay(socket, writer)).await;
        }
    });
    reply.await.ok_or_else(unexpected)
}

/// Passes on what comes, until either side has enough.
async fn relay(mut socket: ClientSocket, writer: ByteWriter) {
    if pass_on(&mut socket, &writer).await.is_ok() {
        writer.close().await;
    }
}

/// What is looked at of a message: the rest is the client's.
#[derive(Deserialize)]
struct Frame {
    id: String,
    #[serde(rename = "type")]
    kind: String,
}

/// # Errors
/// [`Broken`] when the client is gone.
async fn pass_on(socket: &mut ClientSocket, writer: &ByteWriter) -> Result<(), Broken> {
    writer.write(format!("retry: {RETRY_MS}\n\n").as_bytes()).await?;
    let until_ms = now_ms().saturating_add(STREAM_MS_MAX);
    let (mut unacknowledged, mut acknowledged_ms) = (0_u32, now_ms());
    loop {
        let left_ms = until_ms.saturating_sub(now_ms());
        if left_ms <= 0 {
            return writer.write(end(1000, "renew").as_bytes()).await;
        }
        match timer::within(PING_MS.min(left_ms), socket.next()).await {
            // Only the runtime hears this ping: it tells the actor that somebody is there, and wakes nobody.
            Err(timer::Elapsed) => {
                socket.send("ping");
                writer.write(b": ping\n\n").await?;
            }
            Ok(Came::Closed(code, reason)) => return writer.write(end(code, &reason).as_bytes()).await,
            Ok(Came::Text(text)) => {
                let Ok(Frame { id, kind }) = serde_json::from_str(&text) else {
                    continue; // `pong`
                };
                writer.write(format!("id: {id}\nevent: {kind}\ndata: {text}\n\n").as_bytes()).await?;
                unacknowledged = unacknowledged.saturating_add(1);
                let taken_ms = now_ms();
                let late = taken_ms.saturating_sub(acknowledged_ms) >= BETWEEN_ACKS_MS;
                if late || unacknowledged >= EVENTS_BETWEEN_ACKS {
                    socket.send(&json!({ "type": "ack", "id": id }).to_string());
                    (unacknowledged, acknowledged_ms) = (0, taken_ms);
                }
            }
        }
    }
}

/// The last event of a stream: why it ends, as a socket's closing frame says it.
fn end(code: u16, reason: &str) -> String {
    format!("event: end\ndata: {}\n\n", json!({ "code": code, "reason": reason }))
}
