//! What is asked of a provider, and the body that says it in OpenAI's format.

use serde::Serialize;

use super::count::{count_prompt, count_tokens, estimate_prompt_tokens};
use super::images::{IMAGE_TOKENS_COUNTED, IMAGE_TOKENS_HELD, IMAGE_TOKENS_MAX, Image};
use super::whole_request::WholeRequest;

/// Tokens that a chat template may add to a prompt, which itself has at most one token a byte.
const TEMPLATE_TOKENS_MAX: u64 = 512;
/// The longest answer in bytes of text for each token it may have: vocabularies average four or five in every script,
/// so what passes this will not stop by itself.
pub const BYTES_PER_TOKEN_MAX: usize = 16;
/// An answer that is never called too long, in bytes: eight times one of 4,096 tokens. Written as JSON it has at most
/// six times as many, which an actor still keeps for replays (`actors::tenant::REPLY_BYTES_MAX`).
const ANSWER_BYTES_MIN: usize = 131_072;

/// The body a provider may send around an answer, in bytes: JSON escapes and metadata. That of embeddings holds 2,048
/// vectors of 1,536 numbers in base64, or a tenth of them as text.
const ANSWER_BODY_BYTES_MAX: usize = 4_194_304;
const EMBEDDINGS_BODY_BYTES_MAX: usize = 25_165_824;

/// One question, with everything a provider needs to know and nothing it need not.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    pub prompt: Prompt,
    /// Tokens that one answer may have.
    pub max_tokens: u32,
    /// Sent along as `X-Request-Id`, so that both logs can be read together.
    pub request_id: String,
}

/// What the model reads.
#[derive(Debug, Clone)]
pub enum Prompt {
    /// A question, what the model is told before it, and the pictures that belong to it.
    Plain { system: Option<String>, user: String, images: Vec<Image> },
    /// A client's own request in OpenAI's format, passed on as it came.
    Whole(WholeRequest),
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Content<'a>,
}

/// Text alone is a string, which every server reads; only with pictures it is a list of parts.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: Address<'a> },
}

#[derive(Serialize)]
struct Address<'a> {
    url: &'a str,
}

impl<'a> Content<'a> {
    fn of(text: &'a str, images: &'a [Image]) -> Self {
        if images.is_empty() {
            return Self::Text(text);
        }
        let images = images.iter().map(|image| Part::ImageUrl { image_url: Address { url: &image.url } });
        Self::Parts(std::iter::once(Part::Text { text }).chain(images).collect())
    }
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// A body that both OpenAI-compatible servers and Workers AI read; the latter takes no `model`.
#[derive(Serialize)]
struct PlainBody<'a> {
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
        let (system, user, images) = match &self.prompt {
            Prompt::Whole(whole) => return whole.body(model, self.max_tokens, stream),
            Prompt::Plain { system, user, images } => (system, user, images),
        };
        let system = system.as_deref();
        let system = system.map(|text| Message { role: "system", content: Content::Text(text) });
        let user = Message { role: "user", content: Content::of(user, images) };
        let body = PlainBody {
            model,
            messages: system.into_iter().chain([user]).collect(),
            max_tokens: self.max_tokens,
            stream,
            // Workers AI reports usage unasked.
            stream_options: (stream && model.is_some()).then_some(StreamOptions { include_usage: true }),
        };
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Where it is posted, below a provider's base.
    pub const fn path(&self) -> &'static str {
        if self.vectors().is_some() { "/embeddings" } else { "/chat/completions" }
    }

    /// The vectors that are asked for; `None` where it is a chat.
    pub const fn vectors(&self) -> Option<usize> {
        match &self.prompt {
            Prompt::Plain { .. } => None,
            Prompt::Whole(whole) => whole.vectors,
        }
    }

    /// What a provider may send for it, in bytes.
    pub const fn body_bytes_max(&self) -> usize {
        if self.vectors().is_some() { EMBEDDINGS_BODY_BYTES_MAX } else { ANSWER_BODY_BYTES_MAX }
    }

    /// Answers that are asked for at once, each of `max_tokens`.
    pub const fn answers(&self) -> u32 {
        match &self.prompt {
            Prompt::Plain { .. } => 1,
            Prompt::Whole(whole) => whole.answers,
        }
    }

    /// Whether the answer goes back in OpenAI's format, with all that a provider said.
    pub const fn is_whole(&self) -> bool {
        matches!(self.prompt, Prompt::Whole(_))
    }

    /// Tokens that all answers together may have.
    pub fn tokens_out_max(&self) -> u64 {
        u64::from(self.max_tokens).saturating_mul(u64::from(self.answers()))
    }

    /// Pictures of the prompt.
    pub fn images(&self) -> u64 {
        match &self.prompt {
            Prompt::Plain { images, .. } => u64::try_from(images.len()).unwrap_or(u64::MAX),
            Prompt::Whole(whole) => whole.size.images(),
        }
    }

    /// Tokens of the prompt as a hold has them.
    pub fn prompt_tokens_held(&self) -> u64 {
        match &self.prompt {
            Prompt::Plain { system, user, .. } => {
                let images = self.images().saturating_mul(IMAGE_TOKENS_HELD);
                let counted = count_prompt(system.as_deref(), user);
                estimate_prompt_tokens(self.text_bytes(), counted).saturating_add(images)
            }
            Prompt::Whole(whole) => whole.size.tokens_held(),
        }
    }

    /// Tokens of the prompt, counted here; never more than are held for it.
    pub fn prompt_tokens_counted(&self) -> u64 {
        match &self.prompt {
            Prompt::Plain { system, user, .. } => {
                let images = self.images().saturating_mul(IMAGE_TOKENS_COUNTED);
                count_prompt(system.as_deref(), user).saturating_add(images)
            }
            Prompt::Whole(whole) => whole.size.tokens_counted(),
        }
    }

    /// Whether there is more in the prompt than text: what that is for a model can be estimated and not counted.
    pub const fn has_media(&self) -> bool {
        match &self.prompt {
            Prompt::Plain { .. } => false,
            Prompt::Whole(whole) => whole.size.has_media(),
        }
    }

    /// The most that a provider can truly say a prompt has.
    pub fn prompt_tokens_max(&self) -> u64 {
        let text = u64::try_from(self.text_bytes()).unwrap_or(u64::MAX);
        let media = match &self.prompt {
            Prompt::Plain { .. } => self.images().saturating_mul(IMAGE_TOKENS_MAX),
            Prompt::Whole(whole) => whole.size.media_tokens_max(),
        };
        text.saturating_add(media).saturating_add(TEMPLATE_TOKENS_MAX)
    }

    /// All text that the answers may have, in bytes.
    pub fn answer_bytes_max(&self) -> usize {
        let tokens = usize::try_from(self.tokens_out_max()).unwrap_or(usize::MAX);
        tokens.saturating_mul(BYTES_PER_TOKEN_MAX).max(ANSWER_BYTES_MIN)
    }

    /// Everything the model reads as text, in bytes.
    fn text_bytes(&self) -> usize {
        match &self.prompt {
            Prompt::Plain { system, user, .. } => {
                user.len().saturating_add(system.as_ref().map_or(0, String::len))
            }
            Prompt::Whole(whole) => whole.size.text_bytes,
        }
    }
}

/// What came of an answer so far: enough to charge it, and not the answer itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Produced {
    pub tokens: u64,
    pub bytes: usize,
}

impl Produced {
    pub fn of(text: &str) -> Self {
        Self { tokens: count_tokens(text), bytes: text.len() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(images: &[&str]) -> ChatRequest {
        let images = images.iter().map(|bytes| Image::new("image/png", bytes.as_bytes())).collect();
        let prompt = Prompt::Plain { system: Some("Be kind.".to_owned()), user: "Hello".to_owned(), images };
        ChatRequest { prompt, max_tokens: 5, request_id: String::new() }
    }

    fn messages(request: &ChatRequest) -> Value {
        let body: Value = serde_json::from_str(&request.body(Some("m"), false)).unwrap();
        body["messages"].clone()
    }

    #[test]
    fn text_alone_is_a_string_and_pictures_are_parts_after_it() {
        let system = json!({"role": "system", "content": "Be kind."});
        assert_eq!(messages(&request(&[])), json!([system, {"role": "user", "content": "Hello"}]));
        let parts = json!([
            {"type": "text", "text": "Hello"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,YWJj"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,ZGVm"}},
        ]);
        assert_eq!(messages(&request(&["abc", "def"])), json!([system, {"role": "user", "content": parts}]));
    }

    #[test]
    fn each_picture_has_its_tokens_and_its_bytes_have_none() {
        let (none, two) = (request(&[]), request(&["abc", &"x".repeat(100_000)]));
        assert_eq!((none.images(), two.images()), (0, 2));
        assert_eq!(two.prompt_tokens_held() - none.prompt_tokens_held(), 2 * IMAGE_TOKENS_HELD);
        assert_eq!(two.prompt_tokens_counted() - none.prompt_tokens_counted(), 2 * IMAGE_TOKENS_COUNTED);
        assert_eq!(two.prompt_tokens_max() - none.prompt_tokens_max(), 2 * IMAGE_TOKENS_MAX);
        assert!(two.prompt_tokens_counted() <= two.prompt_tokens_held());
    }
}
