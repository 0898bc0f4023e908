//! Sound as rows keep it: text, because what crosses to the database is numbers and text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::shared::Refusal;

pub(super) fn encode(pcm: &[u8]) -> String {
    STANDARD.encode(pcm)
}

/// # Errors
/// `Broken`: it was written here.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    STANDARD.decode(text).map_err(|error| Refusal::Broken { detail: format!("stored sound: {error}") })
}
