//! `PREFERRED_PROVIDER`, and the providers of a tier: who is asked first, who next, and who shares a place with whom.

use super::reader::Reader;

/// The heaviest a provider may be among those of its place.
const WEIGHT_MAX: u32 = 1_000;

/// A provider in the order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub name: String,
    /// Counted from the first.
    pub place: usize,
    pub weight: u32,
}

pub(super) fn read(reader: &mut Reader<'_>, is_known: impl Fn(&str) -> bool) -> Vec<Choice> {
    let text = reader.text("PREFERRED_PROVIDER", "groq,cfai,openai");
    let choices = order(reader, "PREFERRED_PROVIDER", &text);
    let (known, unknown): (Vec<Choice>, Vec<Choice>) =
        choices.into_iter().partition(|choice| is_known(&choice.name));
    if !unknown.is_empty() {
        reader.problem(
            "PREFERRED_PROVIDER",
            "list some of groq, cfai, openai, local and the names in PROVIDERS, separated by commas; \
             `groq:3|openai:1` share a place by weight",
        );
    }
    known
}

/// Reads an order: commas go on to the next place, `|` stands between those that share one, and `:` before a weight.
/// Who is named twice stands where it was named first.
pub(super) fn order(reader: &mut Reader<'_>, variable: &'static str, text: &str) -> Vec<Choice> {
    let text = text.to_ascii_lowercase();
    let mut choices = Vec::<Choice>::new();
    for (place, group) in text.split(',').enumerate() {
        for word in group.split('|').map(str::trim).filter(|word| !word.is_empty()) {
            let (name, weight) = match word.split_once(':') {
                None => (word, Some(1)),
                Some((name, weight)) => (name.trim(), weight.trim().parse().ok()),
            };
            if choices.iter().any(|choice| choice.name == name) {
                continue;
            }
            match weight.filter(|weight| (1..=WEIGHT_MAX).contains(weight)) {
                Some(weight) => choices.push(Choice { name: name.to_owned(), place, weight }),
                None => reader.problem(
                    variable,
                    format!("give weights as whole numbers from 1 to {WEIGHT_MAX}, as in `groq:3|openai:1`"),
                ),
            }
        }
    }
    choices
}
