//! The Workers AI binding: is it there, and does it answer.

use serde::Deserialize;
use serde_json::{Value, json};

use super::context::Context;
use super::error::ApiError;
use super::json_body;
use super::limits::JSON_BODY_BYTES_MAX;
use super::reply::Reply;
use crate::platform::config;
use crate::providers::{self, ChatRequest, Prompt};

/// `GET /api/ai/binding`.
pub fn bound(context: &Context) -> Reply {
    let bound = config::has_binding(&context.env, "AI");
    Reply::json(if bound { 200 } else { 500 }, &json!({ "ai_bound": bound }))
}

#[derive(Deserialize)]
struct TestBody {
    prompt: Option<Value>,
}

/// `POST /api/ai/test` by an operator: `{prompt}` to the binding, unmetered.
pub async fn test(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let body: TestBody = json_body::parse(&bytes)?;
    let prompt = match body.prompt {
        None | Some(Value::Null) => "Say hello.".to_owned(),
        Some(Value::String(prompt)) if !prompt.trim().is_empty() => prompt,
        Some(_) => return Err(ApiError::InvalidField { field: "prompt", expected: "a text" }),
    };
    let Some(provider) = config::workers_ai(&context.env, context.config.deadlines) else {
        return Err(ApiError::AiNotBound);
    };
    let request = ChatRequest {
        prompt: Prompt::Plain { system: None, user: prompt, images: Vec::new() },
        max_tokens: context.config.default_max_tokens,
        request_id: context.request_id.clone(),
    };
    let answer = providers::complete_with(&context.env, &context.config, &provider, &request).await;
    match answer {
        Ok(answer) => {
            Ok(Reply::json(200, &json!({ "ok": true, "model": answer.model, "output": answer.text })))
        }
        Err(failure) => Err(ApiError::AiRunFailed { detail: failure.code() }),
    }
}
