//! Sessions and turns as clients see them.

use actors::shared::Micro;
use actors::voice::{Costs, Latencies, SessionView, TurnView, Used};
use actors::voice_slots::Listed;
use serde_json::{Value, json};

use super::super::moment::iso_time;

pub fn listed(listed: &Listed) -> Value {
    json!({
        "session": listed.session,
        "opened_at": iso_time(listed.opened_at_ms),
        "ended_at": listed.ended_at_ms.map(iso_time),
    })
}

pub fn session(view: &SessionView) -> Value {
    json!({
        "session": view.session,
        "opened_at": iso_time(view.opened_at_ms),
        "ended_at": view.ended_at_ms.map(iso_time),
        "why": view.why,
        "epoch": view.epoch,
        "attached": view.attached,
        "attached_ms": view.attached_ms,
        "turns": view.turns,
        "charged": view.charged_micro.credits(),
        "charged_micro": view.charged_micro,
        "held": view.held_micro.credits(),
        "held_micro": view.held_micro,
        "crash_retries": view.crash_retries,
        "broken_retries": view.broken_retries,
        "ring_bytes": view.ring_bytes,
    })
}

pub fn turn(view: &TurnView) -> Value {
    let Latencies { stt_ms, llm_first_ms, tts_first_ms } = view.latencies;
    json!({
        "turn": view.turn,
        "n": view.n,
        "state": view.state,
        "began_at": iso_time(view.began_at_ms),
        "ended_at": view.ended_at_ms.map(iso_time),
        "user_text": view.user_text,
        "heard": view.heard,
        "gap": view.gap,
        "code": view.code,
        "latencies": { "stt_ms": stt_ms, "llm_first_ms": llm_first_ms, "tts_first_ms": tts_first_ms },
        "used": view.used.as_ref().map(used),
    })
}

fn used(used: &Used) -> Value {
    let Used { costs, attached_ms: _, listened_ms, tokens_in, tokens_out, characters } = *used;
    let Costs { session: _, listening, thinking, speaking } = costs;
    let amount = |micro: Micro| json!(micro.credits());
    json!({
        "cost_credits": amount(costs.sum()),
        "costs": { "listening": amount(listening), "thinking": amount(thinking), "speaking": amount(speaking) },
        "listened_ms": listened_ms,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "characters": characters,
    })
}
