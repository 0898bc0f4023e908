//! What is kept of what a job is asked: the client's own words, and by what it is priced.

use std::rc::Rc;

use actors::catalog::{PriceVersion, SkillPrice};
use actors::shared::PriceTable;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::kinds::Failure;
use crate::edge::pricing::Pricing;

/// The member of params that is a secret, whatever the type.
pub const SECRET: &str = "secret";

/// The code of an attempt at files that are larger than what was set aside pays for.
pub const ATTACHMENT_CHANGED: &str = "attachment_changed";

/// A job's params, as its actor has them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    /// As the client wrote them.
    pub params: Box<RawValue>,
    /// None where nothing is charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<Quote>,
    /// Bytes of the files that the params name. What is set aside is for no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<usize>,
}

impl Stored {
    /// Holds files that were read again against what was set aside for.
    ///
    /// # Errors
    /// A failure that is final: an upload never changes, so another one took its place.
    pub fn still_pays(&self, file_bytes: usize) -> Result<(), Failure> {
        match self.file_bytes {
            Some(most) if file_bytes > most => {
                Err(Failure::new(ATTACHMENT_CHANGED, "what is attached is larger than when the job was made"))
            }
            _ => Ok(()),
        }
    }
}

/// The prices of the day on which a job was made: those of models that may answer it, and no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    prices: PriceTable,
    version: PriceVersion,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skill_price: Option<SkillPrice>,
}

impl Quote {
    pub fn new<'a>(pricing: &Pricing, models: impl Iterator<Item = &'a String>) -> Self {
        let own = |model: &String| pricing.prices.models.get(model).map(|price| (model.clone(), *price));
        let prices = PriceTable { default: pricing.prices.default, models: models.filter_map(own).collect() };
        Self { prices, version: pricing.version.clone(), skill_price: pricing.skill_price }
    }

    /// By what it is charged.
    pub fn pricing(self) -> Pricing {
        Pricing { prices: Rc::new(self.prices), version: self.version, skill_price: self.skill_price }
    }
}
