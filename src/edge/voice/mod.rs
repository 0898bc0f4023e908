//! Voice sessions at the front door: who may open one and look at it, and how it wants to be spoken to. What happens in one
//! is its actor's.

mod opening;
mod prefs;
mod session_id;
mod sessions;
mod shown;
mod socket;

pub use opening::{create, realtime_token};
pub use prefs::{set as set_prefs, show as show_prefs};
pub use sessions::{end, list, show};
pub use socket::open as open_socket;

use actors::tenant::{Command, Reply as ActorReply, VoiceCommand, VoiceReply};

use super::context::{Context, unexpected};
use super::error::ApiError;
use super::identity::Caller;
use super::meter;
use crate::platform::tenant_stub;

/// The subprotocol that is spoken on a session's socket.
pub const PROTOCOL: &str = "cog.voice.v1";

/// Asks the caller's actor about voice.
///
/// # Errors
/// The actor's refusal, as clients see it.
async fn ask(context: &Context, caller: &Caller, command: VoiceCommand) -> Result<VoiceReply, ApiError> {
    let (command, key) = (Command::Voice(Box::new(command)), caller.api_key.as_deref());
    let answer = tenant_stub::send(context.origin(), &caller.tenant, key, command).await;
    match answer.map_err(|refusal| meter::of_caller(refusal, caller))? {
        ActorReply::Voice(reply) => Ok(*reply),
        _ => Err(unexpected()),
    }
}
