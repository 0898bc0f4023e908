//! Questions to the tenant's actor, and what providers are asked of: those whom the session's preferences name first.

use std::rc::Rc;

use actors::shared::Refusal;
use actors::tenant::{Command as TenantCommand, Reply as TenantReply, VoiceCommand};
use actors::voice::{Ask, CallEnd, Command, TenantAnswer};
use serde_json::Value;

use super::{Voice, books};
use crate::platform::config::Provider;
use crate::platform::{log, tenant_stub};
use crate::providers::Failed;

/// Asks the tenant's actor about a hold. Where there is no answer the core asks again by itself: the name of the hold
/// makes that harmless.
pub(super) async fn ask(voice: Rc<Voice>, ask: Ask) {
    let Some(opened) = voice.opened() else { return };
    let command = books::command(&ask, &opened);
    let key = ask.api_key.as_deref();
    let answer = match tenant_stub::send(voice.origin(&opened), &ask.tenant, key, command).await {
        Ok(TenantReply::Admitted(admitted)) => TenantAnswer::Granted { available: admitted.available },
        Ok(TenantReply::Ended(_)) | Err(Refusal::UnknownHold) => TenantAnswer::Ended,
        // The first answer was lost.
        Err(Refusal::DuplicateOperation) => {
            let balance =
                tenant_stub::send(voice.origin(&opened), &ask.tenant, None, TenantCommand::Balance).await;
            let Ok(TenantReply::Balance(account)) = balance else { return };
            TenantAnswer::Granted { available: account.available }
        }
        // These pass: the turn waits.
        Err(Refusal::Storage { .. } | Refusal::RateLimited { .. } | Refusal::TooManyHolds { .. }) | Ok(_) => {
            return;
        }
        Err(refusal) => TenantAnswer::Refused { code: code(&refusal).to_owned() },
    };
    voice.report(Command::TenantAnswered { hold: ask.hold, answer });
}

const fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::InsufficientCredits { .. } => "insufficient_credits",
        Refusal::CapReached { .. } => "cap_reached",
        Refusal::ExceedsBudget { .. } => "exceeds_budget",
        Refusal::UnknownApiKey => "token_invalid",
        _ => "unavailable",
    }
}

/// Tells the tenant's actor that it may have another session. If that is lost, the slot comes free by itself.
pub(super) async fn tell_over(voice: Rc<Voice>) {
    let Some(opened) = voice.opened() else { return };
    let ended = VoiceCommand::Ended { session: opened.session.clone() };
    let command = TenantCommand::Voice(Box::new(ended));
    let _comes_free_by_itself = tenant_stub::send(voice.origin(&opened), &opened.tenant, None, command).await;
}

/// What the preferences say under this name.
pub(super) fn named(prefs: &Value, name: &str) -> Option<String> {
    prefs.pointer(&format!("/{name}")).and_then(Value::as_str).map(str::to_owned)
}

/// Those of `usual` that are asked, in order: who serves the model that the preferences name under `name`, and all where
/// they name none.
pub(super) fn serving(usual: &[Provider], prefs: &Value, name: &str) -> Vec<Provider> {
    let Some(model) = named(prefs, name) else { return usual.to_vec() };
    let serves = |provider: &&Provider| provider.models.contains(&model);
    usual.iter().filter(serves).map(|provider| provider.with_model(&model)).collect()
}

/// No provider could; the code is for the client, the rest for the log.
pub(super) fn failed(code: &str, why: &Failed) -> CallEnd {
    log::fault("voice_stage_failed", &why.detail());
    CallEnd::Failed { code: code.to_owned() }
}
