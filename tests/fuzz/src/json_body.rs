//! JSON bodies: what is read is a JSON object, no deeper than allowed, and says the same when it is written
//! again.

use cognomega::parsers::{JSON_DEPTH_MAX, json_object};
use serde_json::Value;

pub fn run(data: &[u8]) {
    let Some(object) = json_object(data) else {
        // Whatever is refused is no object, or deeper than allowed.
        let parsed: Result<Value, _> = serde_json::from_slice(data);
        assert!(parsed.map_or(true, |value| !value.is_object() || depth(&value) > JSON_DEPTH_MAX));
        return;
    };
    assert!(object.is_object() && depth(&object) <= JSON_DEPTH_MAX);
    let again = json_object(object.to_string().as_bytes());
    assert!(again.as_ref().is_some_and(|again| same(again, &object)), "{object} is read again as {again:?}");
}

/// The parser reads a long fraction to the last place but one, by choice: no amount of ours has as many digits.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap_or_default(), right.as_f64().unwrap_or_default());
            (left - right).abs() <= left.abs() * 1e-14
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}
