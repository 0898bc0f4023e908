//! What a request for a transcript and a job that makes one have in common: who may write it down, what that may cost at
//! most, and what of a provider's answer is charged.

use actors::shared::Micro;

use super::super::error::ApiError;
use super::super::meter::{Work, WorkEnd};
use super::super::offer::Offer;
use super::super::pricing::Pricing;
use super::charge::{Recorded, Told};
use super::offer;
use crate::platform::config::{Config, Provider, ProviderKind, Tier};
use crate::providers::{Attempt, Transcript};

/// Offers a recording to those who serve `model`, by `pricing`.
///
/// # Errors
/// `UnknownModel`; `AskFailed` without a provider; `InvalidField` where nobody can send events.
pub fn offered(
    config: &Config,
    tier: Option<&Tier>,
    pricing: Pricing,
    model: &str,
    (recorded, streams): (Recorded, bool),
) -> Result<Offer, ApiError> {
    let expected = "left out: nobody who serves this model sends events";
    offer::make(
        tier,
        pricing,
        (&config.offers.transcription, model),
        (
            |provider| provider.kind == ProviderKind::OpenAiCompatible || !streams,
            ApiError::InvalidField { field: "stream", expected },
        ),
        |price| recorded.most(price),
    )
}

impl From<&Transcript> for Told {
    fn from(transcript: &Transcript) -> Self {
        Self { reported: transcript.reported, characters: transcript.characters }
    }
}

/// All that a usage row says of a recording that `provider` wrote down.
pub fn work<'w>(
    (pricing, held): (&Pricing, Micro),
    recorded: Recorded,
    (provider, attempts): (&'w Provider, &'w [Attempt]),
    told: Told,
    end: WorkEnd,
) -> Work<'w> {
    Work {
        provider: &provider.name,
        attempts,
        model: &provider.model,
        priced_model: &provider.model,
        question: None,
        used: recorded.used(told, pricing.price_of(&provider.model)),
        price_percent: None,
        held,
        end,
    }
}
