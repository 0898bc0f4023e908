//! What a model's work costs: a price for each unit, and one rounding of their sum.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Micro;

/// What was used, in the units that prices are of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Units {
    /// Tokens of the prompt, those from a cache among them.
    pub tokens_in: u64,
    /// Of `tokens_in`, those that the provider had in a cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens_cached: u64,
    pub tokens_out: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub characters: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub milliseconds: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub images: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Units {
    /// Tokens in and out, none of them from a cache.
    #[must_use]
    pub fn tokens(tokens_in: u64, tokens_out: u64) -> Self {
        Self { tokens_in, tokens_out, ..Self::default() }
    }
}

/// What one model costs, in micro-credits for each unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelPrice {
    pub input_per_1k_micro: i64,
    pub output_per_1k_micro: i64,
    /// Tokens from a cache count as input without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input_per_1k_micro: Option<i64>,
    pub per_1k_characters_micro: i64,
    pub per_minute_micro: i64,
    pub per_image_micro: i64,
}

/// Members of a price that is written as an object.
const FIELDS: [&str; 6] = ["input", "output", "cached_input", "per_1k_characters", "per_minute", "per_image"];
/// What a price must be, in words for whoever wrote another.
const EXPECTED: &str = "credits per 1,000 tokens as a number from 0 to 1000, in steps of 0.000001, or an object of \
     `input` (per 1,000 tokens), `output` (as `input` when it is absent), `cached_input` (no more than `input`), \
     `per_1k_characters`, `per_minute` and `per_image`";

/// Micro-credits are the numerator over this: 1,000 tokens or characters and 60,000 milliseconds both divide it.
const UNIT_PARTS: u128 = 60_000;
const MILLISECONDS_PER_MINUTE: u128 = 60_000;
const TOKENS_PER_PRICE: u128 = 1_000;
/// A step of a charge, 0.001 credit, in parts of a micro-credit.
const STEP_PARTS: u128 = 1_000 * UNIT_PARTS;

impl ModelPrice {
    /// The most that a thousand tokens, a minute or an image may cost: a thousand credits. More is a mistake.
    pub const PER_UNIT_MICRO_MAX: i64 = 1_000_000_000;
    /// The dearest there can be, where a price is asked for and none is right.
    pub const DEAREST: Self = Self::flat(Self::PER_UNIT_MICRO_MAX);

    /// The same for tokens in and out, and nothing for anything else.
    #[must_use]
    pub const fn flat(per_1k_micro: i64) -> Self {
        Self {
            input_per_1k_micro: per_1k_micro,
            output_per_1k_micro: per_1k_micro,
            cached_input_per_1k_micro: None,
            per_1k_characters_micro: 0,
            per_minute_micro: 0,
            per_image_micro: 0,
        }
    }

    /// Reads a price as configuration and operators write it: a number of credits for 1,000 tokens, or an object.
    ///
    /// # Errors
    /// What a price must be.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        Self::read(value).ok_or_else(|| format!("give {EXPECTED}"))
    }

    fn read(value: &Value) -> Option<Self> {
        let Value::Object(fields) = value else {
            return unit_micro(value).map(Self::flat);
        };
        if fields.is_empty() || fields.keys().any(|name| !FIELDS.contains(&name.as_str())) {
            return None;
        }
        let price = |name: &str| fields.get(name).map(unit_micro);
        let optional = |name: &str| price(name).map_or(Some(None), |micro| micro.map(Some));
        let other = |name: &str| price(name).unwrap_or(Some(0));
        let (input, output, cached) = (optional("input")?, optional("output")?, optional("cached_input")?);
        // A half that is left out by mistake must not be work for nothing.
        let input_per_1k_micro = match (input, output.or(cached)) {
            (Some(micro), _) => micro,
            (None, None) => 0,
            (None, Some(_)) => return None,
        };
        let read = Self {
            input_per_1k_micro,
            output_per_1k_micro: output.unwrap_or(input_per_1k_micro),
            cached_input_per_1k_micro: cached,
            per_1k_characters_micro: other("per_1k_characters")?,
            per_minute_micro: other("per_minute")?,
            per_image_micro: other("per_image")?,
        };
        read.is_within_bounds().then_some(read)
    }

    /// As it is written: a number where that says it all, else an object.
    #[must_use]
    pub fn to_json(self) -> Value {
        if self == Self::flat(self.input_per_1k_micro) {
            return exact_credits(self.input_per_1k_micro);
        }
        let mut fields = Map::new();
        let mut put = |name: &str, micro: i64| fields.insert(name.to_owned(), exact_credits(micro));
        put("input", self.input_per_1k_micro);
        put("output", self.output_per_1k_micro);
        if let Some(micro) = self.cached_input_per_1k_micro {
            put("cached_input", micro);
        }
        for (name, micro) in [
            ("per_1k_characters", self.per_1k_characters_micro),
            ("per_minute", self.per_minute_micro),
            ("per_image", self.per_image_micro),
        ] {
            if micro != 0 {
                put(name, micro);
            }
        }
        Value::Object(fields)
    }

    /// Every price from zero to [`Self::PER_UNIT_MICRO_MAX`], and a cached token no dearer than another.
    #[must_use]
    pub fn is_within_bounds(self) -> bool {
        let known = 0..=Self::PER_UNIT_MICRO_MAX;
        let cached_micro = self.cached_input_per_1k_micro.unwrap_or(0);
        let mut each = [
            self.input_per_1k_micro,
            self.output_per_1k_micro,
            cached_micro,
            self.per_1k_characters_micro,
            self.per_minute_micro,
            self.per_image_micro,
        ]
        .into_iter();
        each.all(|micro| known.contains(&micro)) && cached_micro <= self.input_per_1k_micro
    }

    /// The charge for what was used: to the nearest 0.001 credit, half up, at most [`Micro::MAX`].
    #[must_use]
    pub fn charge(self, units: &Units) -> Micro {
        rounded(self.parts(units), STEP_PARTS / 2)
    }

    /// The hold for `units`: up to the next 0.001 credit, as if nothing came from a cache. It covers the charge of
    /// everything that uses no more of any unit.
    #[must_use]
    pub fn hold(self, units: &Units) -> Micro {
        rounded(self.hold_parts(units), STEP_PARTS.saturating_sub(1))
    }

    /// The most tokens of answer that `limit` pays for beside what else `units` has, whatever step they are rounded to;
    /// `None` when it does not even pay that.
    #[must_use]
    pub fn affordable_tokens_out(self, limit: Micro, units: &Units) -> Option<u64> {
        let beside = self.hold_parts(&Units { tokens_out: 0, ..*units });
        let steps = u128::try_from(limit.thousandths().max(0)).unwrap_or(0);
        let left = steps.saturating_mul(STEP_PARTS).checked_sub(beside)?;
        // Parts of a micro-credit that one token of answer costs.
        let token_parts = per(self.output_per_1k_micro, TOKENS_PER_PRICE);
        Some(
            left.checked_div(token_parts)
                .map_or(u64::MAX, |tokens| u64::try_from(tokens).unwrap_or(u64::MAX)),
        )
    }

    fn hold_parts(self, units: &Units) -> u128 {
        let cached_micro = self.cached_input_per_1k_micro.unwrap_or(0);
        let dearest = Self { input_per_1k_micro: self.input_per_1k_micro.max(cached_micro), ..self };
        dearest.parts(&Units { tokens_cached: 0, ..*units })
    }

    /// The exact sum, in parts of a micro-credit of which there are [`UNIT_PARTS`].
    fn parts(self, units: &Units) -> u128 {
        let cached = units.tokens_cached.min(units.tokens_in);
        let cached_micro = self.cached_input_per_1k_micro.unwrap_or(self.input_per_1k_micro);
        let parts_of =
            |count: u64, micro: i64, per_count: u128| u128::from(count).saturating_mul(per(micro, per_count));
        [
            parts_of(units.tokens_in.saturating_sub(cached), self.input_per_1k_micro, TOKENS_PER_PRICE),
            parts_of(cached, cached_micro, TOKENS_PER_PRICE),
            parts_of(units.tokens_out, self.output_per_1k_micro, TOKENS_PER_PRICE),
            parts_of(units.characters, self.per_1k_characters_micro, TOKENS_PER_PRICE),
            parts_of(units.milliseconds, self.per_minute_micro, MILLISECONDS_PER_MINUTE),
            parts_of(units.images, self.per_image_micro, 1),
        ]
        .into_iter()
        .fold(0, u128::saturating_add)
    }

    /// Every price times `permille` thousandths, to the nearest micro-credit, half up, and no dearer than a price may
    /// be.
    #[must_use]
    pub fn times(self, permille: u32) -> Self {
        let times = |micro: i64| {
            let product = i128::from(micro).saturating_mul(i128::from(permille)).saturating_add(500) / 1_000;
            i64::try_from(product).unwrap_or(Self::PER_UNIT_MICRO_MAX).min(Self::PER_UNIT_MICRO_MAX)
        };
        Self {
            input_per_1k_micro: times(self.input_per_1k_micro),
            output_per_1k_micro: times(self.output_per_1k_micro),
            cached_input_per_1k_micro: self.cached_input_per_1k_micro.map(times),
            per_1k_characters_micro: times(self.per_1k_characters_micro),
            per_minute_micro: times(self.per_minute_micro),
            per_image_micro: times(self.per_image_micro),
        }
    }
}

/// Whole steps of 0.001 credit.
fn rounded(parts: u128, rounding: u128) -> Micro {
    let micro = (parts.saturating_add(rounding) / STEP_PARTS).saturating_mul(1_000);
    Micro(i64::try_from(micro).map_or(Micro::MAX.0, |micro| micro.min(Micro::MAX.0)))
}

/// Parts of a micro-credit that one of `per_count` costs. `per_count` divides [`UNIT_PARTS`].
fn per(micro: i64, per_count: u128) -> u128 {
    u128::from(micro.unsigned_abs()).saturating_mul(UNIT_PARTS.checked_div(per_count).unwrap_or(0))
}

/// A price of one unit, as a number or as the text of one. What is no price at all must not become zero by rounding.
fn unit_micro(value: &Value) -> Option<i64> {
    let credits = match value {
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_f64()?,
    };
    let micro = Micro::from_credits(credits)?.0;
    let is_price = (0..=ModelPrice::PER_UNIT_MICRO_MAX).contains(&micro) && (micro > 0 || credits == 0.0);
    is_price.then_some(micro)
}

/// An amount with all its six decimals, for whoever computes with it.
fn exact_credits(micro: i64) -> Value {
    #[allow(clippy::cast_precision_loss)]
    let credits = micro as f64 / 1_000_000.0;
    json!(credits)
}

/// Every price at one time: each model's own, and the one of all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceTable {
    pub default: ModelPrice,
    #[serde(default)]
    pub models: BTreeMap<String, ModelPrice>,
}

impl PriceTable {
    /// Models with prices of their own. More than any deployment has; a table of them all stays below 100 KB.
    pub const MODELS_MAX: usize = 500;
    /// The longest name of a model, in bytes.
    pub const MODEL_BYTES_MAX: usize = 128;

    /// The price of a model.
    #[must_use]
    pub fn price_of(&self, model: &str) -> ModelPrice {
        self.models.get(model).copied().unwrap_or(self.default)
    }

    /// Reads the prices of models, an object.
    ///
    /// # Errors
    /// What is wrong with the first that is, and what it must be.
    pub fn models_from_json(value: &Value) -> Result<BTreeMap<String, ModelPrice>, String> {
        let Some(object) = value.as_object().filter(|object| object.len() <= Self::MODELS_MAX) else {
            return Err(format!(
                "give a JSON object of at most {} models, each to its price",
                Self::MODELS_MAX
            ));
        };
        let mut models = BTreeMap::new();
        for (model, price) in object {
            if !is_model(model) {
                let bytes = Self::MODEL_BYTES_MAX;
                return Err(format!("name models in 1 to {bytes} visible ASCII characters"));
            }
            let read = ModelPrice::from_json(price).map_err(|expected| format!("`{model}`: {expected}"))?;
            models.insert(model.clone(), read);
        }
        Ok(models)
    }

    /// Reads a whole table as operators write it: `{"default", "models"}`.
    ///
    /// # Errors
    /// What a table must be.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let fields = value
            .as_object()
            .filter(|fields| fields.keys().all(|name| name == "default" || name == "models"));
        let Some((fields, default)) = fields.and_then(|fields| Some((fields, fields.get("default")?))) else {
            return Err(
                "give `default`, the price of every model that has none of its own, and `models`".to_owned()
            );
        };
        let default = ModelPrice::from_json(default).map_err(|expected| format!("`default`: {expected}"))?;
        let models = fields.get("models").map_or(Ok(BTreeMap::new()), Self::models_from_json)?;
        Ok(Self { default, models })
    }

    /// As operators write it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let models: Map<String, Value> =
            self.models.iter().map(|(model, price)| (model.clone(), price.to_json())).collect();
        json!({ "default": self.default.to_json(), "models": models })
    }

    /// Whether every price and the table itself is within its limits.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        self.models.len() <= Self::MODELS_MAX
            && self.default.is_within_bounds()
            && self.models.iter().all(|(model, price)| is_model(model) && price.is_within_bounds())
    }
}

fn is_model(name: &str) -> bool {
    (1..=PriceTable::MODEL_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
