//! One operation of a client: what was asked, under which names, and what is known of its outcome.

use serde_json::Value;

/// The form an answer is asked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Stream,
}

/// A question to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The marker of the provider's script.
    pub scenario: &'static str,
    pub form: Form,
    /// With an idempotency key it is tried again until it is acknowledged.
    pub keyed: bool,
    /// The client leaves its first attempt after this long.
    pub patience_ms: Option<u64>,
    /// Asked to see whether the runtime is back.
    pub probe: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Ask(Ask),
    /// An operator's change of the balance by `delta_milli`, with an idempotency key.
    Adjust {
        delta_milli: i64,
    },
    /// An event that the client reports, under an id of its own.
    UsageEvent {
        tokens_in: u64,
        cost_milli: i64,
    },
}

/// The rows of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Ask,
    Stream,
    KeyedAsk,
    KeyedStream,
    LeftAsk,
    LeftStream,
    Adjust,
    UsageEvent,
    Probe,
}

/// An answer of a model, the same whether it came as JSON or as a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub content: String,
    pub provider: String,
    pub model: String,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub charged_milli: i64,
    pub balance_milli: i64,
    /// The provider broke off, and what was delivered is charged.
    pub interrupted: bool,
}

/// What a client holds in its hands after a reply of 2xx that came whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Receipt {
    Answer(Answer),
    /// The balance object.
    Adjusted(Value),
    /// The event as it was recorded.
    Recorded(Value),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// No attempt reached the runtime.
    Unsent,
    /// Sent, and no whole answer came: it may have been done or not.
    Unknown,
    /// A whole answer said that it was not done.
    Refused(String),
    Acknowledged(Receipt),
}

#[derive(Clone, Debug)]
pub struct Operation {
    /// Index of the tenant in the run.
    pub tenant: usize,
    pub request: Request,
    /// Unique in the run: part of the prompt, idempotency key, reason of the entry or id of the event.
    pub name: String,
    /// One for each attempt that reached the runtime, given by the client as the platform's edge would, so that a usage row can be told
    /// to belong to an ask whose answer never came.
    pub request_ids: Vec<String>,
    pub outcome: Outcome,
}

impl Request {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Adjust { .. } => Kind::Adjust,
            Self::UsageEvent { .. } => Kind::UsageEvent,
            Self::Ask(ask) if ask.probe => Kind::Probe,
            Self::Ask(ask) => match (ask.form, ask.keyed, ask.patience_ms) {
                (Form::Json, true, _) => Kind::KeyedAsk,
                (Form::Stream, true, _) => Kind::KeyedStream,
                (Form::Json, false, None) => Kind::Ask,
                (Form::Stream, false, None) => Kind::Stream,
                (Form::Json, false, Some(_)) => Kind::LeftAsk,
                (Form::Stream, false, Some(_)) => Kind::LeftStream,
            },
        }
    }

    /// Whether the same request may be sent again without being done twice.
    pub fn repeatable(&self) -> bool {
        match self {
            Self::Ask(ask) => ask.keyed,
            Self::Adjust { .. } | Self::UsageEvent { .. } => true,
        }
    }
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Ask,
        Self::Stream,
        Self::KeyedAsk,
        Self::KeyedStream,
        Self::LeftAsk,
        Self::LeftStream,
        Self::Adjust,
        Self::UsageEvent,
        Self::Probe,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ask => "ask, JSON",
            Self::Stream => "ask, stream",
            Self::KeyedAsk => "ask with key, JSON",
            Self::KeyedStream => "ask with key, stream",
            Self::LeftAsk => "ask that its client leaves, JSON",
            Self::LeftStream => "ask that its client leaves, stream",
            Self::Adjust => "operator's adjustment",
            Self::UsageEvent => "client's usage event",
            Self::Probe => "ask after a restart",
        }
    }
}

impl Operation {
    pub fn acknowledged(&self) -> Option<&Receipt> {
        match &self.outcome {
            Outcome::Acknowledged(receipt) => Some(receipt),
            _ => None,
        }
    }
}

/// Credits have three decimals on the wire: thousandths are exact.
pub fn milli(credits: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    let milli = (credits * 1_000.0).round() as i64;
    milli
}

/// Thousandths as the wire writes credits.
pub fn credits(milli: i64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let credits = milli as f64 / 1_000.0;
    credits
}
