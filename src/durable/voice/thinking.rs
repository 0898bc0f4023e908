//! An answer in text, as it is written.

use std::rc::Rc;

use actors::shared::Units;
use actors::voice::limits::LLM_MS_MAX;
use actors::voice::{CallEnd, CallId, Command, Role, Said};
use serde_json::{Value, json};

use super::Voice;
use super::asking::{failed, serving};
use super::calls::{SoFar, request_id};
use crate::platform::{log, now_ms};
use crate::providers::{self, Answered, ChatRequest, Members, Produced, Prompt, TokenUsage, WholeRequest};

const fn name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

pub(super) async fn think(
    voice: &Rc<Voice>,
    call: CallId,
    (messages, tokens_out_max): (Vec<Said>, u64),
    prefs: &Value,
    so_far: &SoFar,
) -> CallEnd {
    let Some(opened) = voice.opened() else { return CallEnd::Broken };
    let lines: Vec<Value> =
        messages.iter().map(|said| json!({ "role": name(said.role), "content": said.text })).collect();
    let mut members = Members::default();
    members.set("messages", &Value::Array(lines));
    let request = ChatRequest {
        prompt: Prompt::Whole(WholeRequest::new(members, 1)),
        max_tokens: u32::try_from(tokens_out_max).unwrap_or(u32::MAX),
        request_id: request_id(&opened, call),
    };
    let providers = serving(&voice.config.providers, prefs, "model");
    let end_ms = now_ms().saturating_add(LLM_MS_MAX);
    let opening = providers::open_stream(&voice.env, &voice.config, &providers, &request, end_ms).await;
    let Answered { provider, value: mut stream, .. } = match opening {
        Ok(answered) => answered,
        Err(why) => return failed("llm_failed", &why),
    };
    let mut produced = Produced::default();
    // What was read is paid for, however little is written.
    so_far.replace(TokenUsage::counted(&request, produced).units());
    loop {
        let wait_ms = provider.deadlines.idle_ms.min(end_ms.saturating_sub(now_ms()));
        match stream.next(wait_ms).await {
            Ok(Some(batch)) => {
                let text: String = batch.pieces.iter().map(|piece| piece.text.as_str()).collect();
                produced = batch.pieces.last().map_or(produced, |piece| piece.so_far);
                let before = *so_far.borrow();
                so_far.replace(Units { tokens_out: produced.tokens.min(tokens_out_max), ..before });
                if !text.is_empty() {
                    voice.report(Command::Says { call, text });
                }
            }
            Ok(None) => {
                let usage = TokenUsage::believed(stream.usage, &request, produced);
                return CallEnd::Done { text: None, units: usage.units() };
            }
            Err(failure) => {
                log::fault_of(&request.request_id, "voice_answer_broke_off", &failure.code());
                return CallEnd::Broken;
            }
        }
    }
}
