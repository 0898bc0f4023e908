//! JSON bodies: what is read is a JSON object, no deeper than allowed, and says the same when it is written again.

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
    assert_eq!(json_object(object.to_string().as_bytes()), Some(object));
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}
