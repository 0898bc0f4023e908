//! What a request is offered: which providers may answer it, what it may cost, and what it weighs.

use actors::rate::Weight;
use actors::shared::{Micro, Price};

use super::context::Context;
use super::error::ApiError;
use super::question::{OnHoldUsed, Question};
use super::variant;
use crate::platform::config::{Config, Provider, Tier};
use crate::providers::estimate_prompt_tokens;

/// A stream that is topped up begins with the prompt and so many tokens of answer at least: with less it would ask for
/// more before it has said a sentence.
const TOP_UP_TOKENS_MIN: u32 = 64;
/// With how many it begins when the client does not say what to set aside at first.
const TOP_UP_TOKENS_DEFAULT: u32 = 256;

pub struct Offer {
    /// In the order they are asked.
    pub providers: Vec<Provider>,
    pub tier: Option<String>,
    /// What is set aside before the work.
    pub hold: Micro,
    /// What it could cost at most, with everything it asked for.
    pub hold_max: Micro,
    /// The client's own limit: no more is charged, whatever a provider reports. `None` without one.
    pub cost_max: Option<Micro>,
    pub weight: Weight,
}

/// Reads the tier, and works out what the question may cost at the dearest provider that may answer it. With a
/// limit of credits and no topping up, the question's `max_tokens` becomes what they can pay. Only a stream is
/// topped up: an answer that comes whole is paid for by its hold alone.
///
/// # Errors
/// `UnknownTier`; `AskFailed` without a provider; `InvalidField` for credits that do not even pay the prompt.
pub fn make(context: &Context, question: &mut Question, streams: bool) -> Result<Offer, ApiError> {
    let config = &context.config;
    let tier = tier(context, config)?;
    let providers = tier.map_or_else(|| config.providers.clone(), |tier| tier.providers.clone());
    let providers = variant::providers(question.variant.as_ref(), providers);
    if providers.is_empty() {
        return Err(ApiError::AskFailed { detail: "no provider is configured".to_owned() });
    }
    let dearest = providers.iter().map(|provider| config.price_of(&provider.model)).max();
    let price = dearest.unwrap_or(config.price);
    let prompt = estimate_prompt_tokens(question.chat.prompt_bytes());
    if !streams {
        question.on_hold_used = OnHoldUsed::Cut;
    }
    let ways = (price, prompt, question.on_hold_used);
    let terms = terms(ways, question.chat.max_tokens, question.max_credits)?;
    let Terms { max_tokens, hold, hold_max, cost_max } = terms;
    question.chat.max_tokens = max_tokens;
    let tokens = prompt.saturating_add(u64::from(max_tokens));
    let weight = Weight {
        requests: tier.map_or(1, |tier| tier.weight),
        tokens: i64::try_from(tokens).unwrap_or(i64::MAX),
        micro: hold,
    };
    let tier = tier.map(|tier| tier.name.clone());
    Ok(Offer { providers, tier, hold, hold_max, cost_max, weight })
}

/// What an answer may cost, and how long it may be for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    max_tokens: u32,
    hold: Micro,
    hold_max: Micro,
    cost_max: Option<Micro>,
}

/// # Errors
/// `InvalidField` for a limit that does not pay the prompt and a beginning of an answer.
fn terms(
    (price, prompt, on_hold_used): (Price, u64, OnHoldUsed),
    max_tokens: u32,
    limit: Option<Micro>,
) -> Result<Terms, ApiError> {
    let cost = |tokens: u32| price.hold(prompt.saturating_add(u64::from(tokens)));
    let expected = "more than the prompt alone may cost";
    let too_little = ApiError::InvalidField { field: "max_credits", expected };
    match (on_hold_used, limit) {
        (OnHoldUsed::Cut, None) => {
            let hold = cost(max_tokens);
            Ok(Terms { max_tokens, hold, hold_max: hold, cost_max: None })
        }
        (OnHoldUsed::Cut, Some(limit)) => {
            let affordable = affordable_tokens(price, limit).saturating_sub(prompt);
            let max_tokens = u32::try_from(affordable).unwrap_or(u32::MAX).min(max_tokens);
            if max_tokens == 0 {
                return Err(too_little);
            }
            let hold = cost(max_tokens).min(limit);
            Ok(Terms { max_tokens, hold, hold_max: hold, cost_max: Some(limit) })
        }
        (OnHoldUsed::TopUp, limit) => {
            let hold_max = cost(max_tokens);
            if limit.is_some_and(|limit| limit < cost(max_tokens.min(TOP_UP_TOKENS_MIN))) {
                return Err(too_little);
            }
            let first = limit.unwrap_or_else(|| cost(max_tokens.min(TOP_UP_TOKENS_DEFAULT)));
            let cost_max = limit.map(|limit| limit.max(hold_max));
            Ok(Terms { max_tokens, hold: first.min(hold_max), hold_max, cost_max })
        }
    }
}

/// The tier a request asks for, when it does.
///
/// # Errors
/// `UnknownTier`.
pub fn tier<'a>(context: &Context, config: &'a Config) -> Result<Option<&'a Tier>, ApiError> {
    let Some(name) = context.inbound.header_filled("x-intelligence-tier") else {
        return Ok(None);
    };
    let found = config.tiers.iter().find(|tier| tier.name.eq_ignore_ascii_case(name.trim()));
    found.map(Some).ok_or(ApiError::UnknownTier)
}

/// The tokens that `limit` pays for, whatever step they are rounded to.
fn affordable_tokens(price: Price, limit: Micro) -> u64 {
    let micro = u64::try_from(limit.thousandths().max(0)).unwrap_or(0).saturating_mul(1_000);
    let per_1k = u64::try_from(price.per_1k_tokens_micro).unwrap_or(0);
    micro.saturating_mul(1_000).checked_div(per_1k).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn affordable_tokens_are_covered_and_no_more_would_be(price in 1_i64..1_000_000_000, limit in 1_i64..1_000_000_000) {
            let (price, limit) = (Price { per_1k_tokens_micro: price }, Micro(limit));
            let tokens = affordable_tokens(price, limit);
            prop_assert!(price.hold(tokens) <= limit);
            prop_assert!(price.hold(tokens + 1) > limit);
        }
    }

    const PRICE: Price = Price { per_1k_tokens_micro: 50_000 };

    #[test]
    fn a_whole_answer_is_never_longer_than_its_hold_pays_for() {
        let made = terms((PRICE, 100, OnHoldUsed::Cut), 4_096, Some(Micro(10_000))).unwrap();
        assert_eq!((made.max_tokens, made.hold, made.cost_max), (100, Micro(10_000), Some(Micro(10_000))));
        let made = terms((PRICE, 100, OnHoldUsed::Cut), 300, None).unwrap();
        assert_eq!((made.max_tokens, made.hold, made.hold_max), (300, Micro(20_000), Micro(20_000)));
        assert!(terms((PRICE, 100, OnHoldUsed::Cut), 4_096, Some(Micro(5_000))).is_err());
    }

    #[test]
    fn what_is_topped_up_begins_with_a_step_of_some_size() {
        let top_up = |limit| terms((PRICE, 100, OnHoldUsed::TopUp), 4_096, limit);
        for too_little in [1, 5_000, 8_999] {
            assert!(top_up(Some(Micro(too_little))).is_err(), "{too_little}");
        }
        let least = top_up(Some(Micro(9_000))).unwrap();
        assert_eq!((least.max_tokens, least.hold, least.hold_max), (4_096, Micro(9_000), Micro(210_000)));
        let usual = top_up(None).unwrap();
        assert_eq!((usual.hold, usual.hold_max, usual.cost_max), (Micro(18_000), Micro(210_000), None));
        let short = terms((PRICE, 100, OnHoldUsed::TopUp), 5, Some(Micro(6_000))).unwrap();
        assert_eq!((short.hold, short.hold_max), (Micro(6_000), Micro(6_000)), "no more than it may cost");
    }

    #[test]
    fn what_is_free_is_affordable() {
        assert_eq!(affordable_tokens(Price { per_1k_tokens_micro: 0 }, Micro(1)), u64::MAX);
    }
}
