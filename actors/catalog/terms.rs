//! What a skill is: its prompt, what it prefers, what it costs, and its limits.

use serde::{Deserialize, Serialize};

use super::charge::SkillPrice;
use crate::shared::{PriceTable, Refusal};

/// The skill that answers where no other is meant. It is there before anybody stores it.
pub const GENERAL: &str = "general";
/// What it says to a model, until an operator stores something else.
const GENERAL_SYSTEM: &str = "You are a helpful assistant. Answer clearly and briefly.";

/// A skill's name, in bytes.
pub const SKILL_NAME_BYTES_MAX: usize = 64;
/// A system prompt, in bytes: some four thousand tokens.
pub const SYSTEM_BYTES_MAX: usize = 16_384;
/// A description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 512;
/// Models, and providers, that a skill may prefer.
pub const PREFERENCES_MAX: usize = 8;
/// The longest name of a provider, in bytes.
const PROVIDER_BYTES_MAX: usize = 64;
/// Bounds of the limits: an answer's tokens, and an input's bytes (a body has no more).
const TOKENS_MAX: u32 = 1_000_000;
const INPUT_BYTES_MAX: u32 = 1_048_576;

/// What becomes of a system prompt that a client sends itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnClientSystem {
    /// It stands in the place of the skill's.
    #[default]
    Replace,
    /// It comes after the skill's.
    Append,
}

/// What is stored may have fields of a newer version, which are left out: a version that is rolled back goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SkillTerms {
    /// For whoever chooses one; the only part besides name and version that everybody sees.
    pub description: String,
    pub system: String,
    pub on_client_system: OnClientSystem,
    /// Models and providers in order of preference. Those that nothing configured serves are passed over, and what is
    /// not listed comes after them in the usual order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<SkillPrice>,
    /// The longest answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// The longest input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_bytes_max: Option<u32>,
    pub enabled: bool,
}

impl Default for SkillTerms {
    fn default() -> Self {
        Self {
            description: String::new(),
            system: String::new(),
            on_client_system: OnClientSystem::Replace,
            models: Vec::new(),
            providers: Vec::new(),
            price: None,
            max_tokens: None,
            input_bytes_max: None,
            enabled: true,
        }
    }
}

impl SkillTerms {
    /// [`GENERAL`] as it is built in.
    #[must_use]
    pub fn built_in() -> Self {
        let description = "answers anything, clearly and briefly".to_owned();
        Self { description, system: GENERAL_SYSTEM.to_owned(), ..Self::default() }
    }

    /// # Errors
    /// `InvalidSetting`, naming the field.
    pub fn check(&self, name: &str) -> Result<(), Refusal> {
        let wrong = |field: &str, expected: String| {
            Err(Refusal::InvalidSetting { field: field.to_owned(), expected })
        };
        if self.system.len() > SYSTEM_BYTES_MAX {
            return wrong("system", format!("at most {SYSTEM_BYTES_MAX} bytes"));
        }
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            return wrong("description", format!("at most {DESCRIPTION_BYTES_MAX} bytes"));
        }
        for (field, list, bytes_max) in [
            ("models", &self.models, PriceTable::MODEL_BYTES_MAX),
            ("providers", &self.providers, PROVIDER_BYTES_MAX),
        ] {
            let is_name = |name: &String| {
                (1..=bytes_max).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
            };
            if list.len() > PREFERENCES_MAX || !list.iter().all(is_name) {
                let expected =
                    format!("at most {PREFERENCES_MAX} names of 1 to {bytes_max} visible ASCII characters");
                return wrong(field, expected);
            }
        }
        if self.max_tokens.is_some_and(|tokens| !(1..=TOKENS_MAX).contains(&tokens)) {
            return wrong("max_tokens", format!("a whole number from 1 to {TOKENS_MAX}"));
        }
        if self.input_bytes_max.is_some_and(|bytes| !(1..=INPUT_BYTES_MAX).contains(&bytes)) {
            return wrong("input_bytes_max", format!("a whole number from 1 to {INPUT_BYTES_MAX}"));
        }
        if let Some(price) = self.price {
            price.check()?;
        }
        if !self.enabled && name == GENERAL {
            return wrong(
                "enabled",
                "true: what names no skill of its own is answered by `general`".to_owned(),
            );
        }
        Ok(())
    }
}

/// Whether it can be a stored skill's name. Paths are lower-cased, so names are.
#[must_use]
pub fn is_skill_name(name: &str) -> bool {
    (1..=SKILL_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}
