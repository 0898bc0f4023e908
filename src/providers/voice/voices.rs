//! A voice's name at a provider that may not have it.

use crate::platform::config::{ProviderKind, is_cartesia_voice};

/// The voice that every server of OpenAI's format knows; the binding takes its own usual one for it.
const USUAL: &str = "alloy";

/// What `wanted` is called at a provider of that kind. A voice of another kind's own takes the usual one, so that a turn is
/// not lost with its provider.
pub fn at(kind: ProviderKind, wanted: Option<&str>) -> String {
    match (kind, wanted) {
        (ProviderKind::Cartesia, wanted) => wanted.unwrap_or(USUAL).to_owned(),
        (_, Some(name)) if !is_cartesia_voice(name) => name.to_owned(),
        _ => USUAL.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_of_another_kind_is_the_usual_one() {
        let own = "a0e99841-438c-4a64-b679-ae501e7d6091";
        use ProviderKind::{Cartesia, OpenAiCompatible, WorkersAi};
        assert_eq!(at(OpenAiCompatible, Some(own)), "alloy");
        assert_eq!(at(WorkersAi, Some(own)), "alloy");
        assert_eq!(at(Cartesia, Some(own)), own);
        assert_eq!(at(OpenAiCompatible, Some("nova")), "nova");
        assert_eq!(at(OpenAiCompatible, None), "alloy");
    }
}
