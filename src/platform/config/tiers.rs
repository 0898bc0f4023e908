//! Tiers: which providers and models stand behind a name that a client may ask for, and what a request weighs.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Provider;
use super::preference::{self, Choice};
use super::reader::Reader;

/// The heaviest a request may be.
const WEIGHT_MAX: i64 = 1_000;
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

pub struct Tier {
    pub name: String,
    /// Requests that one of this tier counts as.
    pub weight: i64,
    /// In the order they are asked, with the models of this tier.
    pub providers: Vec<Provider>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTier {
    #[serde(default = "one")]
    weight: i64,
    /// Provider to model, for those that have another one in this tier.
    #[serde(default)]
    models: BTreeMap<String, String>,
    /// Which providers, in order; all in the usual order when absent. One text may name several that share a place by
    /// their weights, as in `PREFERRED_PROVIDER`.
    providers: Option<Vec<String>>,
}

const fn one() -> i64 {
    1
}

/// Reads `TIERS`. A tier may name a provider that is not configured here; it is left out, as it is of the usual
/// order.
pub(super) fn read(reader: &mut Reader<'_>, providers: &[Provider]) -> Vec<Tier> {
    const CURE: &str = "give a JSON object: a tier's name to {\"weight\", \"providers\", \"models\"}";
    let Some(text) = (reader.look_up)("TIERS") else {
        return Vec::new();
    };
    let Ok(table) = serde_json::from_str::<BTreeMap<String, WireTier>>(&text) else {
        reader.problem("TIERS", CURE);
        return Vec::new();
    };
    let mut tiers = Vec::with_capacity(table.len());
    for (name, wire) in table {
        let named = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
        if !named || !(1..=WEIGHT_MAX).contains(&wire.weight) {
            reader.problem("TIERS", format!("{CURE}; a weight is 1 to {WEIGHT_MAX}"));
            continue;
        }
        let with_model = |provider: &Provider| match wire.models.get(&*provider.name) {
            Some(model) => provider.with_model(model),
            None => provider.clone(),
        };
        let chosen: Vec<Provider> = match &wire.providers {
            None => providers.iter().map(with_model).collect(),
            Some(places) => {
                let placed = |Choice { name, place, weight }: Choice| {
                    let found = providers.iter().find(|provider| *provider.name == *name)?;
                    Some(Provider { place, weight, ..with_model(found) })
                };
                preference::order(reader, "TIERS", &places.join(",")).into_iter().filter_map(placed).collect()
            }
        };
        tiers.push(Tier { name, weight: wire.weight, providers: chosen });
    }
    tiers
}
