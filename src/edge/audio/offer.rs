//! Who may speak or listen, and what it may cost.

use actors::rate::Weight;
use actors::shared::{Micro, ModelPrice, Units};

use super::super::error::ApiError;
use super::super::models;
use super::super::offer::Offer;
use super::super::pricing::Pricing;
use crate::platform::config::{Provider, Tier};

/// Offers `model` of those of `usual` who can do what is asked, and holds the most that `units` cost at one of them, by
/// `pricing`.
///
/// # Errors
/// `UnknownModel`; `AskFailed` without a provider; `cannot` when nobody can do it.
pub fn make(
    tier: Option<&Tier>,
    pricing: Pricing,
    (usual, model): (&[Provider], &str),
    (can, cannot): (impl Fn(&Provider) -> bool, ApiError),
    units: impl Fn(ModelPrice) -> Units,
) -> Result<Offer, ApiError> {
    let mut providers = models::serving(usual, model)?;
    if providers.is_empty() {
        return Err(ApiError::AskFailed { detail: "no provider is configured".to_owned() });
    }
    providers.retain(can);
    if providers.is_empty() {
        return Err(cannot);
    }
    let (mut hold, mut tokens) = (Micro::ZERO, 0);
    for provider in &providers {
        let price = pricing.price_of(&provider.model);
        let most = units(price);
        hold = hold.max(price.hold(&most));
        tokens = tokens.max(most.tokens_in.saturating_add(most.tokens_out));
    }
    let weight = Weight {
        requests: tier.map_or(1, |tier| tier.weight),
        tokens: i64::try_from(tokens).unwrap_or(i64::MAX),
        micro: hold,
    };
    let tier = tier.map(|tier| tier.name.clone());
    Ok(Offer { providers, pricing, tier, hold, hold_max: hold, cost_max: None, weight })
}
