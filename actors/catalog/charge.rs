//! How a charge is computed, from no more than a usage row and a price table: the same the first time and ever after.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::prices::PriceVersion;
use crate::shared::{Micro, ModelPrice, PriceTable, Refusal, Units};

/// What a skill costs, where that is not what its model costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkillPrice {
    /// A price of its own, whatever model answers.
    Fixed(ModelPrice),
    /// The model's price times so many thousandths.
    Times(u32),
}

impl SkillPrice {
    /// A hundred times the model's price. More is a mistake.
    pub const PERMILLE_MAX: u32 = 100_000;

    pub(super) fn check(self) -> Result<(), Refusal> {
        let (is_right, field) = match self {
            Self::Fixed(price) => (price.is_within_bounds(), "price"),
            Self::Times(permille) => (permille <= Self::PERMILLE_MAX, "price_multiplier"),
        };
        if is_right {
            return Ok(());
        }
        let expected = "a price within its limits, or a multiplier from 0 to 100".to_owned();
        Err(Refusal::InvalidSetting { field: field.to_owned(), expected })
    }

    /// Reads a multiplier as operators write it: a number in steps of 0.001.
    #[must_use]
    pub fn from_multiplier(multiplier: f64) -> Option<Self> {
        let permille = (multiplier * 1_000.0).round();
        if !(0.0..=f64::from(Self::PERMILLE_MAX)).contains(&permille)
            || (permille == 0.0 && multiplier != 0.0)
        {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let permille = permille as u32;
        Some(Self::Times(permille))
    }

    /// As operators write it, and as usage rows have it: `skill_price`, or `price_multiplier`.
    #[must_use]
    pub fn to_json(self) -> (&'static str, Value) {
        match self {
            Self::Fixed(price) => ("price", price.to_json()),
            Self::Times(permille) => ("price_multiplier", json!(f64::from(permille) / 1_000.0)),
        }
    }
}

/// What was charged for: with a price table of that version, all that a charge is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charged {
    /// The model whose price counts.
    pub model: String,
    pub price_version: PriceVersion,
    pub skill_price: Option<SkillPrice>,
    pub units: Units,
    /// Hundredths of the price that are due: less than all for an answer that was made before.
    pub price_percent: Option<u32>,
    /// No more than this, whatever was used: what the client or the hold allowed.
    pub charge_max: Option<Micro>,
}

/// The price of a model, or what a skill makes of it.
#[must_use]
pub fn price_of(table: &PriceTable, model: &str, skill_price: Option<SkillPrice>) -> ModelPrice {
    match skill_price {
        None => table.price_of(model),
        Some(SkillPrice::Fixed(price)) => price,
        Some(SkillPrice::Times(permille)) => table.price_of(model).times(permille),
    }
}

impl Charged {
    /// What is due for it by a table, which must be the one of its version. A balance that had not so much was charged
    /// less, and the ledger's entry says how much as its `shortfall`.
    #[must_use]
    pub fn recompute(&self, table: &PriceTable) -> Micro {
        let whole = price_of(table, &self.model, self.skill_price).charge(&self.units);
        let due = self.price_percent.map_or(whole, |percent| whole.percent(percent));
        self.charge_max.map_or(due, |most| due.min(most))
    }

    /// Puts it into a usage row's `meta`.
    pub fn write(&self, meta: &mut Map<String, Value>) {
        meta.insert("priced_model".to_owned(), json!(self.model));
        meta.insert("price_version".to_owned(), json!(self.price_version));
        meta.insert("units".to_owned(), json!(self.units));
        match self.skill_price {
            Some(price @ SkillPrice::Fixed(_)) => meta.insert("skill_price".to_owned(), price.to_json().1),
            Some(price @ SkillPrice::Times(_)) => {
                meta.insert("price_multiplier".to_owned(), price.to_json().1)
            }
            None => None,
        };
        if let Some(percent) = self.price_percent {
            meta.insert("cache".to_owned(), json!("hit"));
            meta.insert("price_percent".to_owned(), json!(percent));
        }
        if let Some(most) = self.charge_max {
            meta.insert("charge_max_micro".to_owned(), json!(most));
        }
    }

    /// Reads it from a usage row's `meta`; `None` for a row that has it not, such as one that a client reported.
    #[must_use]
    pub fn read(meta: &Value) -> Option<Self> {
        if meta.get("basis").is_some_and(|basis| basis == "client") {
            return None;
        }
        let skill_price = match (meta.get("skill_price"), meta.get("price_multiplier")) {
            (None, None) => None,
            (Some(price), None) => Some(SkillPrice::Fixed(ModelPrice::from_json(price).ok()?)),
            (None, Some(multiplier)) => Some(SkillPrice::from_multiplier(multiplier.as_f64()?)?),
            (Some(_), Some(_)) => return None,
        };
        let charge_max = meta.get("charge_max_micro").map(|most| Some(Micro(most.as_i64()?)));
        Some(Self {
            model: meta.get("priced_model")?.as_str()?.to_owned(),
            price_version: meta.get("price_version")?.as_str()?.parse().ok()?,
            skill_price,
            units: serde_json::from_value(meta.get("units")?.clone()).ok()?,
            price_percent: match meta.get("price_percent") {
                Some(percent) => Some(u32::try_from(percent.as_u64()?).ok()?),
                None => None,
            },
            charge_max: charge_max.map_or(Some(None), |most| most.map(Some))?,
        })
    }
}
