//! What a request is offered: which providers may answer it, what it may cost, and what it weighs.

use actors::rate::Weight;
use actors::shared::{Micro, Price};

use super::context::Context;
use super::error::ApiError;
use super::question::{OnHoldUsed, Question};
use crate::platform::config::{Config, Provider, Tier};
use crate::providers::estimate_prompt_tokens;

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
/// limit of credits and no topping up, the question's `max_tokens` becomes what they can pay.
///
/// # Errors
/// `UnknownTier`; `AskFailed` without a provider; `InvalidField` for credits that do not even pay the prompt.
pub fn make(context: &Context, question: &mut Question) -> Result<Offer, ApiError> {
    let config = &context.config;
    let tier = tier(context, config)?;
    let providers = tier.map_or_else(|| config.providers.clone(), |tier| tier.providers.clone());
    if providers.is_empty() {
        return Err(ApiError::AskFailed { detail: "no provider is configured".to_owned() });
    }
    let dearest = providers.iter().map(|provider| config.price_of(&provider.model)).max();
    let price = dearest.unwrap_or(config.price);
    let prompt = estimate_prompt_tokens(question.chat.prompt_bytes());
    if let (Some(limit), OnHoldUsed::Cut) = (question.max_credits, question.on_hold_used) {
        let affordable = affordable_tokens(price, limit).saturating_sub(prompt);
        let affordable = u32::try_from(affordable).unwrap_or(u32::MAX);
        if affordable == 0 {
            let expected = "more than the prompt alone may cost";
            return Err(ApiError::InvalidField { field: "max_credits", expected });
        }
        question.chat.max_tokens = question.chat.max_tokens.min(affordable);
    }
    let tokens = prompt.saturating_add(u64::from(question.chat.max_tokens));
    let hold_max = price.hold(tokens);
    let hold = question.max_credits.map_or(hold_max, |limit| limit.min(hold_max));
    let cost_max = question.max_credits.map(|limit| match question.on_hold_used {
        OnHoldUsed::Cut => limit,
        OnHoldUsed::TopUp => limit.max(hold_max),
    });
    let weight = Weight {
        requests: tier.map_or(1, |tier| tier.weight),
        tokens: i64::try_from(tokens).unwrap_or(i64::MAX),
        micro: hold,
    };
    let tier = tier.map(|tier| tier.name.clone());
    Ok(Offer { providers, tier, hold, hold_max, cost_max, weight })
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

    #[test]
    fn what_is_free_is_affordable() {
        assert_eq!(affordable_tokens(Price { per_1k_tokens_micro: 0 }, Micro(1)), u64::MAX);
    }
}
