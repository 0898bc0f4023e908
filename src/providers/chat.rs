//! What is asked of a provider, and the body that says it in OpenAI's format.

use serde::Serialize;

/// One question, with everything a provider needs to know and nothing it need not.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    pub system: Option<String>,
    pub user: String,
    /// Tokens the answer may have.
    pub max_tokens: u32,
    /// Sent along as `X-Request-Id`, so that both logs can be read together.
    pub request_id: String,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// A body that both OpenAI-compatible servers and Workers AI read; the latter takes no `model`.
#[derive(Serialize)]
struct ChatBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    messages: Vec<Message<'a>>,
    max_tokens: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

impl ChatRequest {
    /// The request body as JSON.
    pub fn body(&self, model: Option<&str>, stream: bool) -> String {
        let system = self.system.as_deref().map(|content| Message { role: "system", content });
        let user = Message { role: "user", content: &self.user };
        let body = ChatBody {
            model,
            messages: system.into_iter().chain([user]).collect(),
            max_tokens: self.max_tokens,
            stream,
            // Workers AI reports usage unasked.
            stream_options: (stream && model.is_some()).then_some(StreamOptions { include_usage: true }),
        };
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Everything the model reads, for counting.
    pub fn prompt_bytes(&self) -> usize {
        self.user.len().saturating_add(self.system.as_ref().map_or(0, String::len))
    }
}
