//! What a scripted provider can be told to do with a request.

use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// Token counts as the provider reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl Usage {
    pub const fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self { prompt_tokens, completion_tokens }
    }

    pub fn to_json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens.saturating_add(self.completion_tokens),
            // It thinks, unseen, all that its scripted answer is too short for.
            "completion_tokens_details": {"reasoning_tokens": self.completion_tokens},
        })
    }
}

/// How a stream of pieces ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `finish_reason`, usage when there is some, `[DONE]`.
    Proper,
    /// The same, and the connection stays open after it.
    HeldOpen,
    /// The connection breaks after the last piece.
    Broken,
    /// Nothing comes after the last piece, and the connection stays open.
    Stalled,
    /// The pieces begin again, for ever.
    Endless,
}

/// A chat completion, sent whole or in pieces as the request asks.
#[derive(Clone, Debug)]
pub struct Completion {
    pub pieces: Vec<String>,
    /// Time before each piece but the first. Only streams show it.
    pub gap: Duration,
    /// The `usage` member as it goes on the wire; `None` leaves it out.
    pub usage: Option<Value>,
    /// The `model` member; `None` repeats the request's.
    pub model: Option<String>,
    pub ending: Ending,
}

/// What to do with one request.
#[derive(Clone, Debug)]
pub enum Behaviour {
    Complete(Completion),
    /// Waits before the first byte, then does the other thing.
    Late(Duration, Box<Behaviour>),
    /// Any status, type and body.
    Page {
        status: u16,
        content_type: &'static str,
        body: Bytes,
    },
    /// An event stream in pieces of the test's own making, one write each.
    RawEvents {
        pieces: Vec<&'static str>,
        gap: Duration,
    },
    /// Bytes of any type, one write each.
    Sound {
        content_type: &'static str,
        pieces: Vec<Bytes>,
        gap: Duration,
        ending: Ending,
    },
    /// A stream of one event again and again, ended properly and with usage.
    Repeated {
        event: Bytes,
        times: usize,
        usage: Usage,
    },
    Redirect {
        status: u16,
        to: String,
    },
    /// An error that says when to come back.
    Busy {
        status: u16,
        retry_after: String,
    },
    /// A completion whose text is so long that the body has this many bytes.
    Giant {
        body_bytes: u64,
    },
    /// A good completion, one byte at a time.
    Dripping {
        gap: Duration,
    },
}

impl Completion {
    /// Without usage and without delay, ending properly.
    pub fn of(pieces: &[&str]) -> Self {
        Self {
            pieces: pieces.iter().map(|piece| (*piece).to_owned()).collect(),
            gap: Duration::ZERO,
            usage: None,
            model: None,
            ending: Ending::Proper,
        }
    }

    /// `count` pieces, numbered so that a test sees which arrived: `w0 w1 w2 …`.
    pub fn numbered(count: usize, gap: Duration) -> Self {
        let pieces = (0..count).map(|index| format!("w{index} ")).collect();
        Self { pieces, gap, ..Self::of(&[]) }
    }

    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage.to_json());
        self
    }

    pub fn raw_usage(mut self, usage: Value) -> Self {
        self.usage = Some(usage);
        self
    }

    pub fn model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }

    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    pub fn text(&self) -> String {
        self.pieces.concat()
    }
}

impl Behaviour {
    /// `text` with `usage`.
    pub fn answer(text: &str, usage: Usage) -> Self {
        Self::Complete(Completion::of(&[text]).usage(usage))
    }

    pub fn answer_without_usage(text: &str) -> Self {
        Self::Complete(Completion::of(&[text]))
    }

    pub fn late(delay: Duration, behaviour: Behaviour) -> Self {
        Self::Late(delay, Box::new(behaviour))
    }

    /// Never answers within any deadline of these tests.
    pub fn silent() -> Self {
        Self::late(Duration::from_secs(600), Self::answer_without_usage("too late"))
    }

    /// An error in the providers' own form. Its text is a canary: clients must never see it.
    pub fn status(status: u16) -> Self {
        let error = json!({"error": {
            "message": crate::vars::PROVIDER_INTERNALS,
            "type": "provider_error",
        }});
        Self::page(status, "application/json", error.to_string())
    }

    /// A vector of three numbers for each input of `body`, and seven tokens.
    pub fn vectors(body: &str) -> Self {
        let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let inputs = body.get("input").and_then(Value::as_array).map_or(1, Vec::len);
        let vector =
            |index: usize| json!({"object": "embedding", "index": index, "embedding": [0.5, -1.0, index]});
        let data: Vec<Value> = (0..inputs).map(vector).collect();
        let usage = json!({"prompt_tokens": 7, "total_tokens": 7});
        let answer = json!({"object": "list", "data": data, "model": body.get("model"), "usage": usage});
        Self::page(200, "application/json", answer.to_string())
    }

    /// Speech that is told from all other: its bytes count up.
    pub fn speech() -> Self {
        Self::sound("audio/mpeg", vec![Bytes::from_iter((0..=255_u8).cycle().take(20_000))])
    }

    pub fn sound(content_type: &'static str, pieces: Vec<Bytes>) -> Self {
        Self::Sound { content_type, pieces, gap: Duration::ZERO, ending: Ending::Proper }
    }

    /// What was heard in no recording in particular.
    pub fn transcript() -> Self {
        let usage = json!({"type": "duration", "seconds": 2});
        let answer = json!({"text": "What was heard.", "duration": 1.5, "language": "en", "usage": usage});
        Self::page(200, "application/json", answer.to_string())
    }

    /// An error with `Retry-After`, in seconds or as a date.
    pub fn busy(status: u16, retry_after: &str) -> Self {
        Self::Busy { status, retry_after: retry_after.to_owned() }
    }

    /// A proxy's page where JSON was expected.
    pub fn html() -> Self {
        let page = format!("<html><body>{}</body></html>", crate::vars::PROVIDER_INTERNALS);
        Self::page(200, "text/html", page)
    }

    /// A good answer whose end is missing.
    pub fn truncated_json() -> Self {
        let whole = crate::provider_reply::whole_body(
            &Completion::of(&["cut short"]).usage(Usage::new(9, 9)),
            "any-model",
        );
        let half = whole.get(..whole.len() / 2).unwrap_or_default().to_owned();
        Self::page(200, "application/json", half)
    }

    pub fn page(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::Page { status, content_type, body: body.into() }
    }
}
