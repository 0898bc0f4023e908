//! By what one request is charged, from its hold to its settle: prices that change in between are for those after it.

use std::rc::Rc;

use actors::catalog::{Charged, PriceVersion, SkillPrice, price_of};
use actors::shared::{Micro, ModelPrice, PriceTable, Units};

#[derive(Debug, Clone)]
pub struct Pricing {
    pub prices: Rc<PriceTable>,
    pub version: PriceVersion,
    pub skill_price: Option<SkillPrice>,
}

impl Pricing {
    pub fn price_of(&self, model: &str) -> ModelPrice {
        price_of(&self.prices, model, self.skill_price)
    }

    /// All that a charge is computed from, and the charge.
    pub fn charged(
        &self,
        (model, units): (&str, Units),
        price_percent: Option<u32>,
        charge_max: Option<Micro>,
    ) -> (Charged, Micro) {
        let charged = Charged {
            model: model.to_owned(),
            price_version: self.version.clone(),
            skill_price: self.skill_price,
            units,
            price_percent,
            charge_max,
        };
        let due = charged.recompute(&self.prices);
        (charged, due)
    }
}
