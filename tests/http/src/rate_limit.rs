//! Reads `RateLimit` and `RateLimit-Policy` as the Structured Fields they are (RFC 9651): a list of strings, each
//! with parameters that are integers or strings. Strict, so that a header another parser would refuse fails here.

use crate::client::Reply;
use reqwest::header::HeaderMap;
use std::collections::BTreeMap;

/// RFC 9651: an integer has at most fifteen digits.
const INTEGER_DIGITS_MAX: usize = 15;

/// A bare item of the two kinds these fields have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bare {
    Integer(i64),
    Text(String),
}

/// One item of the list, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    pub parameters: BTreeMap<String, Bare>,
}

/// A budget as both fields say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub policy: String,
    pub quota: i64,
    pub window_s: Option<i64>,
    pub unit: Option<String>,
    pub remaining: i64,
    pub reset_s: Option<i64>,
}

/// Both fields of a reply, which must speak of the same policies in the same order.
pub fn budgets(headers: &HeaderMap) -> Vec<Budget> {
    let (policies, lefts) = (field(headers, "ratelimit-policy"), field(headers, "ratelimit"));
    let names = |items: &[Item]| items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&policies), names(&lefts), "the two fields speak of other policies: {headers:?}");
    let mut unlike = names(&policies);
    unlike.sort();
    unlike.dedup();
    assert_eq!(unlike.len(), policies.len(), "a policy is named twice: {headers:?}");
    policies.into_iter().zip(lefts).map(|(policy, left)| budget(policy, left)).collect()
}

/// The budgets of a reply by name.
pub fn budgets_of(reply: &Reply) -> BTreeMap<String, Budget> {
    budgets(&reply.headers).into_iter().map(|budget| (budget.policy.clone(), budget)).collect()
}

fn budget(mut policy: Item, mut left: Item) -> Budget {
    let budget = Budget {
        quota: integer(&mut policy, "q").unwrap_or_else(|| panic!("no quota in {policy:?}")),
        window_s: integer(&mut policy, "w"),
        unit: match policy.parameters.remove("qu") {
            Some(Bare::Text(unit)) => Some(unit),
            None => None,
            Some(other) => panic!("a unit is a string, not {other:?}"),
        },
        remaining: integer(&mut left, "r").unwrap_or_else(|| panic!("nothing left in {left:?}")),
        reset_s: integer(&mut left, "t"),
        policy: policy.name.clone(),
    };
    assert!(policy.parameters.is_empty(), "unknown parameters: {policy:?}");
    assert!(left.parameters.is_empty(), "unknown parameters: {left:?}");
    assert!(budget.quota >= 0 && budget.remaining >= 0, "below zero: {budget:?}");
    assert!(budget.window_s.is_none_or(|window_s| window_s > 0), "{budget:?}");
    assert!(budget.reset_s.is_none_or(|reset_s| reset_s >= 0), "{budget:?}");
    budget
}

fn integer(item: &mut Item, name: &str) -> Option<i64> {
    match item.parameters.remove(name) {
        Some(Bare::Integer(number)) => Some(number),
        None => None,
        Some(other) => panic!("`{name}` is an integer, not {other:?}"),
    }
}

fn field(headers: &HeaderMap, name: &str) -> Vec<Item> {
    let lines: Vec<&str> =
        headers.get_all(name).iter().map(|value| value.to_str().expect("visible ASCII")).collect();
    let text = lines.join(", ");
    parse(&text).unwrap_or_else(|wrong| panic!("{name} is no structured list, {wrong}: {text}"))
}

/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str) -> Result<Vec<Item>, String> {
    let mut rest = text.trim_matches(' ');
    let mut items = Vec::new();
    loop {
        items.push(take_item(&mut rest)?);
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Ok(items);
        }
        rest = rest.strip_prefix(',').ok_or_else(|| format!("no comma before `{rest}`"))?;
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Err("it ends with a comma".to_owned());
        }
    }
}

fn take_item(rest: &mut &str) -> Result<Item, String> {
    let name = take_string(rest)?;
    let mut parameters = BTreeMap::new();
    while let Some(after) = rest.strip_prefix(';') {
        *rest = after.trim_start_matches(' ');
        let key = take_key(rest)?;
        *rest = rest.strip_prefix('=').ok_or_else(|| format!("`{key}` has no value"))?;
        let value = if rest.starts_with('"') { Bare::Text(take_string(rest)?) } else { take_integer(rest)? };
        if parameters.insert(key.clone(), value).is_some() {
            return Err(format!("`{key}` comes twice"));
        }
    }
    Ok(Item { name, parameters })
}

fn take_string(rest: &mut &str) -> Result<String, String> {
    let inner = rest.strip_prefix('"').ok_or_else(|| format!("no string at `{rest}`"))?;
    let mut text = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                *rest = inner.get(at + 1..).unwrap_or_default();
                return Ok(text);
            }
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                _ => return Err("a wrong escape".to_owned()),
            },
            ' '..='~' => text.push(character),
            _ => return Err(format!("{character:?} in a string")),
        }
    }
    Err("a string without an end".to_owned())
}

fn take_key(rest: &mut &str) -> Result<String, String> {
    let first = rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c);
    let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
    let (key, after) = rest.split_at(end);
    if !first {
        return Err(format!("no key at `{rest}`"));
    }
    *rest = after;
    Ok(key.to_owned())
}

fn take_integer(rest: &mut &str) -> Result<Bare, String> {
    let digits = rest.strip_prefix('-').unwrap_or(rest);
    let count = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if !(1..=INTEGER_DIGITS_MAX).contains(&count) {
        return Err(format!("no integer at `{rest}`"));
    }
    let (number, after) = rest.split_at(rest.len() - digits.len() + count);
    let number = number.parse().map_err(|_| format!("no integer at `{rest}`"))?;
    *rest = after;
    Ok(Bare::Integer(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_anything_else_refused() {
        let items = parse("\"a b\";q=60;w=60, \"c\";q=-1;qu=\"x\\\"y\"").expect("a list");
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].parameters.get("w"), Some(&Bare::Integer(60)));
        assert_eq!(items[1].parameters.get("qu"), Some(&Bare::Text("x\"y".to_owned())));
        for wrong in [
            "",
            "a;q=1",
            "\"a\";q",
            "\"a\";q=",
            "\"a\";Q=1",
            "\"a\";q=1.5",
            "\"a\";q=1,",
            "\"a\";q=1 \"b\"",
            "\"a\";q=1;q=2",
            "\"a",
            "\"\u{e9}\"",
            "\"a\";q=1234567890123456",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
