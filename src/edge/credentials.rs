//! The one place where what a request presents as proof is judged, before its route does anything.
//!
//! The rule: every credential that is presented must be good. One that is not ends the request with its own code,
//! whatever else came along, and nothing falls through to another. Two are the operator's key and the token; the token
//! is what `Authorization` has, and where there is no such header, the cookie's.
//!
//! What a route does not read is not judged: [`Reads`] says which routes read what.

use super::address_limits;
use super::admin_key::AdminKey;
use super::context::Context;
use super::error::ApiError;
use super::known_keys;
use super::routes::Action;
use crate::platform::now_ms;

/// What of a request's credentials a route reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// How the service itself is, for whoever asks with whatever.
    Nothing,
    /// The operator's key alone. Who comes for a token, or to be rid of one, may well hold one that has ended.
    AdminKey,
    All(Liveness),
}

/// Who finds out whether an API key is still live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// The actor, within each command of the request: what is remembered of the key may be used until then.
    InCommands,
    /// The door, now: no command of the request carries the key.
    Now,
}

const fn reads(action: Action) -> Reads {
    match action {
        Action::Ready | Action::Health | Action::OpenApi => Reads::Nothing,
        Action::GuestToken
        | Action::Exchange
        | Action::CookieKeep
        | Action::Logout
        | Action::Jwks
        | Action::AiBinding
        | Action::NotImplemented
        // Whose ticket it is, its actor says; a token is judged there, where no ticket is shown.
        | Action::EventsOpen
        | Action::VoiceSocket => Reads::AdminKey,
        Action::Ask
        | Action::Chat
        | Action::Embeddings
        | Action::Speech
        | Action::Transcription
        | Action::Balance
        | Action::Ledger
        | Action::Holds
        | Action::Notices
        | Action::TicketMint
        | Action::Verify
        | Action::LimitsShow
        | Action::Upload
        | Action::UsageList
        | Action::UsageRecord
        | Action::JobCreate
        | Action::JobList
        | Action::JobRun
        | Action::JobStats
        | Action::JobDead
        | Action::JobRedrive
        | Action::JobShow
        | Action::JobPatch
        | Action::JobDownload
        | Action::JobCancel
        | Action::JobRetry
        | Action::ScheduleList
        | Action::ScheduleShow
        | Action::ScheduleSet
        | Action::ScheduleDelete
        | Action::VoiceCreate
        | Action::VoiceList
        | Action::VoicePrefsShow
        | Action::VoicePrefsSet
        | Action::RealtimeToken => Reads::All(Liveness::InCommands),
        _ => Reads::All(Liveness::Now),
    }
}

/// Judges all that the request presents and `action` reads.
///
/// # Errors
/// `Unauthorized`, `RateLimited`, `TokenInvalid`, `OriginForbidden`, `Unavailable`.
pub async fn judge(context: &Context, action: Action) -> Result<(), ApiError> {
    let reads = reads(action);
    if reads == Reads::Nothing {
        return Ok(());
    }
    if context.admin_key() == AdminKey::Invalid {
        return Err(address_limits::admin_failure(context.origin(), context.address(), now_ms()).await);
    }
    match reads {
        // An operator's commands do not carry the key that came along.
        Reads::All(Liveness::InCommands) if context.admin_key().is_valid() => {
            context.presented(Liveness::Now).await.map(drop)
        }
        Reads::All(liveness) => context.presented(liveness).await.map(drop),
        Reads::Nothing | Reads::AdminKey => Ok(()),
    }
}

/// Whose key `token` is.
///
/// # Errors
/// As [`known_keys::holder`].
pub async fn holder(
    context: &Context,
    token: &str,
    liveness: Liveness,
) -> Result<known_keys::Holder, ApiError> {
    let (origin, address) = (context.origin(), context.address());
    match liveness {
        Liveness::InCommands => known_keys::holder(origin, token, address).await,
        Liveness::Now => known_keys::live_holder(origin, token, address).await,
    }
}

#[cfg(test)]
mod tests {
    use super::super::routes;
    use super::*;

    #[test]
    fn a_route_that_is_not_on_a_list_reads_everything_and_asks_about_the_key_now() {
        let all = routes::all().flat_map(routes::Route::methods);
        let lax = all.filter(|(_, action)| !matches!(reads(*action), Reads::All(_)));
        let lax: std::collections::BTreeSet<String> = lax.map(|(_, action)| format!("{action:?}")).collect();
        let expected = [
            "AiBinding",
            "CookieKeep",
            "EventsOpen",
            "Exchange",
            "GuestToken",
            "Health",
            "Jwks",
            "Logout",
            "NotImplemented",
            "OpenApi",
            "Ready",
            "VoiceSocket",
        ];
        assert_eq!(lax.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        for action in [Action::Adjust, Action::EnvSnapshot, Action::KeyCreate, Action::UserToken] {
            assert_eq!(reads(action), Reads::All(Liveness::Now), "{action:?}");
        }
    }
}
