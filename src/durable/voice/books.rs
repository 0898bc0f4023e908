//! What a session holds and is charged, in the words of its tenant's books.

use actors::credits::{Owner, Usage};
use actors::rate::Weight;
use actors::shared::Micro;
use actors::tenant::{Admission, Command};
use actors::voice::{Ask, Asked, Costs, Open, Used};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The route that holds and usage rows of a session name.
const ROUTE: &str = "/api/voice/sessions";

/// What the tenant's actor is asked.
pub(super) fn command(ask: &Ask, opened: &Open) -> Command {
    match &ask.what {
        Asked::Admit { need, ttl_ms } => Command::Admit(Box::new(Admission {
            hold: ask.hold.clone(),
            amount: need.sum(),
            ttl_ms: *ttl_ms,
            owner: owner(ask, opened, need.sum()),
            tier: None,
            idempotency: None,
            fingerprint: None,
        })),
        Asked::Settle { charge, used } => Command::Settle {
            hold: ask.hold.clone(),
            charge: *charge,
            usage: usage(ask, opened, used),
            reply: None,
        },
        Asked::Release => Command::Release { hold: ask.hold.clone() },
    }
}

/// The model whose price counts, as the front door noted it.
fn priced(opened: &Open, stage: &str) -> Option<String> {
    let found = opened.settings.prefs.pointer(&format!("/priced/{stage}"));
    found.and_then(Value::as_str).map(str::to_owned)
}

fn model(opened: &Open) -> Option<String> {
    priced(opened, "model")
}

fn owner(ask: &Ask, opened: &Open, micro: Micro) -> Owner {
    let bounds = opened.settings.bounds;
    let is_turn = ask.turn.is_some();
    let tokens = if is_turn { bounds.tokens_in.saturating_add(bounds.tokens_out) } else { 0 };
    Owner {
        route: ROUTE.to_owned(),
        request_id: Some(opened.session.clone()),
        api_key: opened.api_key.clone(),
        models: model(opened).filter(|_| is_turn).into_iter().collect(),
        // Time by the minute is no request.
        weight: Weight {
            requests: i64::from(is_turn),
            tokens: i64::try_from(tokens).unwrap_or(i64::MAX),
            micro,
        },
        ..Owner::default()
    }
}

fn usage(ask: &Ask, opened: &Open, used: &Used) -> Usage {
    let Used { costs, attached_ms, listened_ms, tokens_in, tokens_out, characters } = *used;
    let Costs { session, listening, thinking, speaking } = costs;
    let amount = |micro: Micro| json!(micro.credits());
    let mut meta = json!({
        "session": opened.session,
        "costs": {
            "session": amount(session), "listening": amount(listening),
            "thinking": amount(thinking), "speaking": amount(speaking),
        },
    });
    let more = match ask.turn {
        Some(turn) => json!({
            "turn": turn, "listened_ms": listened_ms, "characters": characters,
            "stt_model": priced(opened, "stt_model"), "tts_model": priced(opened, "tts_model"),
        }),
        None => json!({ "attached_ms": attached_ms }),
    };
    if let (Value::Object(meta), Value::Object(more)) = (&mut meta, more) {
        meta.extend(more);
    }
    let tokens = |count: u64| ask.turn.and_then(|_| i64::try_from(count).ok());
    Usage {
        route: Some(ROUTE.to_owned()),
        tokens_in: tokens(tokens_in),
        tokens_out: tokens(tokens_out),
        model: model(opened).filter(|_| ask.turn.is_some()),
        meta: RawValue::from_string(meta.to_string()).ok(),
    }
}
