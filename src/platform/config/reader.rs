//! Reading one variable at a time, and remembering what is wrong with it.

use actors::shared::{Micro, ModelPrice};
use serde_json::Value;

use super::Problem;

pub(super) type LookUp<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads variables and collects what is wrong with them.
pub(super) struct Reader<'a> {
    pub look_up: LookUp<'a>,
    pub problems: Vec<Problem>,
}

impl Reader<'_> {
    pub fn text(&self, name: &str, default: &str) -> String {
        (self.look_up)(name).map_or_else(|| default.to_owned(), |text| text.trim().to_owned())
    }

    pub fn problem(&mut self, variable: &'static str, cure: impl Into<String>) {
        self.problems.push(Problem { variable, cure: cure.into() });
    }

    pub fn number(&mut self, name: &'static str, default: i64, min: i64, max: i64) -> i64 {
        let Some(text) = (self.look_up)(name) else {
            return default;
        };
        match text.trim().parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                self.problem(name, format!("give a whole number from {min} to {max}"));
                default
            }
        }
    }

    pub fn credits(&mut self, name: &'static str, default: Micro) -> Micro {
        let Some(text) = (self.look_up)(name) else {
            return default;
        };
        match text.trim().parse().ok().and_then(Micro::from_credits) {
            Some(amount) if amount >= Micro::ZERO => amount,
            _ => {
                self.problem(name, "give credits as a number, zero or more");
                default
            }
        }
    }

    pub fn price(&mut self, name: &'static str, text: &str) -> ModelPrice {
        let price = ModelPrice::from_json(&Value::String(text.to_owned()));
        price.unwrap_or_else(|_| {
            self.problem(name, "give credits per 1,000 tokens as a number from 0 to 1000");
            ModelPrice::DEAREST
        })
    }
}
