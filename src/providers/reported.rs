//! What a provider says that it used, and whether that can be true.
//!
//! The rule, of a prompt of `b` bytes of text and `m` tokens of pictures, sound and files at most, asked for `n` answers
//! of `max_tokens` each, of which `d` bytes of text were delivered:
//!
//! - *Absurd* is what is no count of tokens: negative, a fraction, a text or another type; nothing at all for the
//!   prompt, or for an answer that has text. (`12.0` is a fraction: nobody who counts writes it.)
//! - *Inflated* is more than there can be, since a token has at least one byte: in, more than `b + m + 512`, which is
//!   what a template adds at most; out, more than `n × max_tokens + 16 n` for end marks, or more than `d + h + 64 n`,
//!   where `h` are the tokens that the provider says were thought unseen, and 64 an answer's marks, roles and names.
//! - What is absent or `null` is neither. It was not said.
//!
//! What is neither and was said is believed. All else is counted here instead; the usage row and the log say which it
//! was, and the row has what was said. A provider that doubles its numbers below these bounds is not found out: for
//! that, its tokenizer would have to be here.

use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::{ChatRequest, Produced};

/// Tokens by which a provider's count of an answer may pass the limit it was asked with: its end marks.
const END_TOKENS_MAX: u64 = 16;
/// Tokens of an answer that are not among its text: end marks, roles, and what stands around the call of a tool.
const UNSEEN_TOKENS_MAX: u64 = 64;
/// Numbers that were said are shown up to this, which every reader of JSON takes exactly.
const SHOWN_MAX: i64 = (1 << 53) - 1;

/// Where a provider's usage says how much of the prompt it had in a cache.
const CACHED_TOKENS: &str = "/prompt_tokens_details/cached_tokens";
/// Where it says how much was thought and not shown.
const HIDDEN_TOKENS: &str = "/completion_tokens_details/reasoning_tokens";

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    Absurd,
    Inflated,
}

impl Flag {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absurd => "absurd",
            Self::Inflated => "inflated",
        }
    }
}

/// A usage that was said and cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disbelieved {
    pub flag: Flag,
    /// As it was said, between plus and minus 2^53 − 1, rounded towards zero; `None` for what is no number.
    pub tokens_in: Option<i64>,
    pub tokens_out: Option<i64>,
    /// Of a recording, rounded and bounded alike.
    pub seconds: Option<i64>,
}

impl Disbelieved {
    /// A length of sound that was said; `None` where it was no number.
    pub fn sound(flag: Flag, seconds: Option<f64>) -> Self {
        Self { flag, tokens_in: None, tokens_out: None, seconds: seconds.map(bounded) }
    }

    pub fn tokens(flag: Flag, tokens_in: u64, tokens_out: u64) -> Self {
        let shown = |count| Said::Count(count).shown();
        Self { flag, tokens_in: shown(tokens_in), tokens_out: shown(tokens_out), seconds: None }
    }

    /// As a usage row has it.
    pub fn shown(self) -> Value {
        match self.seconds {
            Some(seconds) => json!({ "seconds": seconds }),
            None => json!({ "tokens_in": self.tokens_in, "tokens_out": self.tokens_out }),
        }
    }
}

/// One number of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Count(u64),
    /// No count of anything.
    Odd(Option<i64>),
}

impl Said {
    fn of(value: Option<&Value>) -> Self {
        let Some(value) = value.filter(|value| !value.is_null()) else { return Self::Nothing };
        match value.as_u64() {
            Some(count) => Self::Count(count),
            None => Self::Odd(value.as_f64().map(bounded)),
        }
    }

    fn shown(self) -> Option<i64> {
        match self {
            Self::Nothing => None,
            Self::Count(count) => Some(i64::try_from(count).map_or(SHOWN_MAX, |count| count.min(SHOWN_MAX))),
            Self::Odd(number) => number,
        }
    }
}

#[allow(clippy::cast_possible_truncation)]
const fn bounded(number: f64) -> i64 {
    let number = number as i64;
    if number > SHOWN_MAX {
        SHOWN_MAX
    } else if number < -SHOWN_MAX {
        -SHOWN_MAX
    } else {
        number
    }
}

/// A provider's usage as it came. Nothing says yet that it is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    tokens_in: Said,
    tokens_out: Said,
    /// Of those in, as far as it said so.
    tokens_cached: u64,
    /// Of those out.
    tokens_hidden: u64,
}

/// What is to be thought of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The numbers, where they can be true.
    Believed {
        tokens_in: u64,
        tokens_cached: u64,
        tokens_out: u64,
    },
    /// Not all of it was said.
    Unsaid,
    Disbelieved(Disbelieved),
}

/// The members that are read. All else in it is a provider's own.
#[derive(Deserialize)]
struct Members {
    prompt_tokens: Option<Value>,
    completion_tokens: Option<Value>,
}

impl Reported {
    /// `None` where there is none: absent, `null`, or without a word of tokens in it.
    pub fn of(usage: Option<&Value>) -> Option<Self> {
        let usage = usage.filter(|usage| !usage.is_null())?;
        let odd = Self {
            tokens_in: Said::Odd(None),
            tokens_out: Said::Odd(None),
            tokens_cached: 0,
            tokens_hidden: 0,
        };
        if !usage.is_object() {
            return Some(odd);
        }
        let Ok(members) = Members::deserialize(usage) else { return Some(odd) };
        let tokens_in = Said::of(members.prompt_tokens.as_ref());
        let tokens_out = Said::of(members.completion_tokens.as_ref());
        if (tokens_in, tokens_out) == (Said::Nothing, Said::Nothing) {
            return None;
        }
        let detail = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let (tokens_cached, tokens_hidden) = (detail(CACHED_TOKENS), detail(HIDDEN_TOKENS));
        Some(Self { tokens_in, tokens_out, tokens_cached, tokens_hidden })
    }

    /// By the rule at the head of this file.
    pub fn judged(self, request: &ChatRequest, produced: Produced) -> Verdict {
        let disbelieved = |flag: Flag| {
            let (tokens_in, tokens_out) = (self.tokens_in.shown(), self.tokens_out.shown());
            Verdict::Disbelieved(Disbelieved { flag, tokens_in, tokens_out, seconds: None })
        };
        let (tokens_in, tokens_out) = match (self.tokens_in, self.tokens_out) {
            (Said::Odd(_), _) | (_, Said::Odd(_)) => return disbelieved(Flag::Absurd),
            (Said::Count(tokens_in), Said::Count(tokens_out)) => (tokens_in, tokens_out),
            // Embeddings have none out, and need not say so.
            (Said::Count(tokens_in), Said::Nothing) if request.vectors().is_some() => (tokens_in, 0),
            (Said::Nothing, _) | (_, Said::Nothing) => return Verdict::Unsaid,
        };
        if tokens_in == 0 || (tokens_out == 0 && produced.bytes > 0) {
            return disbelieved(Flag::Absurd);
        }
        if tokens_in > request.prompt_tokens_max() || tokens_out > self.tokens_out_max(request, produced) {
            return disbelieved(Flag::Inflated);
        }
        // A part is never more than the whole.
        Verdict::Believed { tokens_in, tokens_cached: self.tokens_cached.min(tokens_in), tokens_out }
    }

    fn tokens_out_max(self, request: &ChatRequest, produced: Produced) -> u64 {
        let of_each = |tokens: u64| tokens.saturating_mul(u64::from(request.answers()));
        let asked = request.tokens_out_max().saturating_add(of_each(END_TOKENS_MAX));
        let delivered = u64::try_from(produced.bytes).unwrap_or(u64::MAX);
        let unseen = self.tokens_hidden.saturating_add(of_each(UNSEEN_TOKENS_MAX));
        asked.min(delivered.saturating_add(unseen))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::chat::Prompt;
    use super::super::whole_request::WholeRequest;
    use super::*;

    fn request(user: &str, max_tokens: u32, answers: u32) -> ChatRequest {
        let body = json!({"messages": [{"role": "user", "content": user}]}).to_string();
        let prompt = Prompt::Whole(WholeRequest::new(serde_json::from_str(&body).unwrap(), answers));
        ChatRequest { prompt, max_tokens, request_id: String::new() }
    }

    fn judged(usage: &Value, produced_bytes: usize) -> Option<Verdict> {
        let produced = Produced { tokens: 1, bytes: produced_bytes };
        Reported::of(Some(usage)).map(|said| said.judged(&request("Hello", 400, 1), produced))
    }

    fn flagged(flag: Flag, tokens_in: Option<i64>, tokens_out: Option<i64>) -> Option<Verdict> {
        Some(Verdict::Disbelieved(Disbelieved { flag, tokens_in, tokens_out, seconds: None }))
    }

    #[test]
    fn what_is_no_count_is_absurd_and_shown_as_far_as_it_is_a_number() {
        let most = Some(SHOWN_MAX);
        for (usage, tokens_in, tokens_out) in [
            (json!({"prompt_tokens": -5, "completion_tokens": 2}), Some(-5), Some(2)),
            (json!({"prompt_tokens": 9, "completion_tokens": 2.5}), Some(9), Some(2)),
            (json!({"prompt_tokens": 12.0, "completion_tokens": 2}), Some(12), Some(2)),
            (json!({"prompt_tokens": -1e300, "completion_tokens": 1e300}), Some(-SHOWN_MAX), most),
            (json!({"prompt_tokens": "9", "completion_tokens": 2}), None, Some(2)),
            (json!({"prompt_tokens": 9, "completion_tokens": [2]}), Some(9), None),
            (json!({"prompt_tokens": 0, "completion_tokens": 2}), Some(0), Some(2)),
            (json!({"prompt_tokens": 9, "completion_tokens": 0}), Some(9), Some(0)),
            (json!({"prompt_tokens": true}), None, None),
            (json!("many"), None, None),
            (json!([9, 2]), None, None),
            (json!(7), None, None),
        ] {
            assert_eq!(judged(&usage, 40), flagged(Flag::Absurd, tokens_in, tokens_out), "{usage}");
        }
    }

    #[test]
    fn what_is_more_than_there_can_be_is_inflated_and_one_less_is_believed() {
        let prompt_max = request("Hello", 400, 1).prompt_tokens_max();
        let usage = |tokens_in: u64, tokens_out: u64| json!({"prompt_tokens": tokens_in, "completion_tokens": tokens_out});
        let believed =
            |tokens_in, tokens_out| Some(Verdict::Believed { tokens_in, tokens_cached: 0, tokens_out });
        assert_eq!(judged(&usage(prompt_max, 104), 40), believed(prompt_max, 104));
        for (tokens_in, tokens_out, bytes) in [(prompt_max + 1, 2, 40), (9, 105, 40), (9, 417, 5_000)] {
            let shown = |count: u64| Some(i64::try_from(count).unwrap());
            let expected = flagged(Flag::Inflated, shown(tokens_in), shown(tokens_out));
            assert_eq!(judged(&usage(tokens_in, tokens_out), bytes), expected, "{tokens_in} {tokens_out}");
        }
        assert_eq!(judged(&usage(9, 416), 5_000), believed(9, 416));
        let huge = judged(&usage(u64::MAX, u64::MAX), 40);
        assert_eq!(huge, flagged(Flag::Inflated, Some(SHOWN_MAX), Some(SHOWN_MAX)));
    }

    #[test]
    fn what_was_thought_unseen_is_no_inflation_within_what_was_asked_for() {
        let thought = |out: u64, hidden: u64| json!({"prompt_tokens": 9, "completion_tokens": out, "completion_tokens_details": {"reasoning_tokens": hidden}});
        let believed = Some(Verdict::Believed { tokens_in: 9, tokens_cached: 0, tokens_out: 300 });
        assert_eq!(judged(&thought(300, 290), 40), believed);
        assert!(matches!(judged(&thought(300, 100), 40), Some(Verdict::Disbelieved(_))), "unseen and unsaid");
        assert!(
            matches!(judged(&thought(417, 417), 40), Some(Verdict::Disbelieved(_))),
            "nobody asked for it"
        );
    }

    #[test]
    fn what_was_not_said_is_no_fault() {
        for usage in [json!(null), json!({}), json!({"prompt_tokens": null, "completion_tokens": null})] {
            assert_eq!(judged(&usage, 40), None, "{usage}");
        }
        for usage in [json!({"prompt_tokens": 5}), json!({"completion_tokens": 5})] {
            assert_eq!(judged(&usage, 40), Some(Verdict::Unsaid), "{usage}");
        }
    }

    proptest! {
        /// Whatever a provider says, no number is believed beyond what can be, and each other one is flagged.
        #[test]
        fn no_number_is_believed_beyond_what_can_be(
            user in "\\PC{0,200}",
            max_tokens in 1_u32..2_000,
            answers in 1_u32..8,
            bytes in 0_usize..20_000,
            (tokens_in, tokens_out) in (any::<u16>(), any::<u16>()),
            (large, hidden) in (any::<bool>(), any::<u16>()),
        ) {
            let request = request(&user, max_tokens, answers);
            let times = if large { 1_u64 << 47 } else { 1 };
            let (tokens_in, tokens_out) = (u64::from(tokens_in) * times, u64::from(tokens_out) * times);
            let usage = json!({
                "prompt_tokens": tokens_in, "completion_tokens": tokens_out,
                "completion_tokens_details": {"reasoning_tokens": hidden},
            });
            let said = Reported::of(Some(&usage)).unwrap();
            let n = u64::from(answers);
            let in_max = user.len() as u64 * 6 + 512 + 64;
            let out_max = (u64::from(max_tokens) * n + 16 * n).min(bytes as u64 + u64::from(hidden) + 64 * n);
            match said.judged(&request, Produced { tokens: 1, bytes }) {
                Verdict::Believed { tokens_in: i, tokens_out: o, .. } => {
                    prop_assert_eq!((i, o), (tokens_in, tokens_out), "as it was said");
                    prop_assert!((1..=in_max).contains(&i) && o <= out_max && (o > 0 || bytes == 0));
                }
                Verdict::Disbelieved(Disbelieved { flag: Flag::Inflated, .. }) => {
                    prop_assert!(tokens_in > request.prompt_tokens_max() || tokens_out > out_max);
                }
                Verdict::Disbelieved(Disbelieved { flag: Flag::Absurd, .. }) => {
                    prop_assert!(tokens_in == 0 || (tokens_out == 0 && bytes > 0));
                }
                Verdict::Unsaid => prop_assert!(false, "all of it was said"),
            }
        }
    }
}
