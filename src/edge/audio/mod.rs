//! `/v1/audio`: text that is spoken, and recordings that are written down, by OpenAI's forms and metered as an ask is.
//!
//! Sound never is in memory of ours: it is passed between the client, the providers and the bucket by the runtime.

use super::error::ApiError;
use super::offer::Offer;
use crate::providers::Failed;

pub mod batch;
pub mod charge;
pub mod hearing;
mod kept_speech;
mod kept_transcript;
mod offer;
mod passing;
pub mod recording;
pub mod speech;
mod speech_form;
pub mod transcription;
pub mod wish;

/// A body's digest with the tier it is asked in, which is a header: another tier is another question.
fn with_tier(digest: String, offer: &Offer) -> String {
    match &offer.tier {
        Some(tier) => format!("{digest}/{tier}"),
        None => digest,
    }
}

/// What a client is told when no provider answered.
fn failed(failed: &Failed) -> ApiError {
    if failed.blames_request() {
        ApiError::RequestRefused
    } else {
        ApiError::AskFailed { detail: failed.detail() }
    }
}
