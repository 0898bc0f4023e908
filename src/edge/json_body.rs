//! JSON bodies: depth first, then types, and every mistake told apart.

use serde::Deserialize;

use super::error::ApiError;
use super::limits::JSON_DEPTH_MAX;

/// Parses a body, which must be an object, into `T`. Unknown fields are ignored; known ones are checked by the caller,
/// so `T` should hold them as raw values where a wrong type deserves its own message.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::InvalidJson)?;
    // A list would be read as an object's fields in their order.
    let is_object = text.trim_start().starts_with('{');
    if !is_object || depth(text) > JSON_DEPTH_MAX {
        return Err(ApiError::InvalidJson);
    }
    serde_json::from_str(text).map_err(|_| ApiError::InvalidJson)
}

/// The deepest nesting, found without parsing: raw values are skipped by the parser without a limit.
fn depth(text: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                open = open.saturating_add(1);
                deepest = deepest.max(open);
            }
            b']' | b'}' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (text, expected) in [("1", 0), ("[]", 1), (r#"{"a":[[]]}"#, 3), (r#"["[[[","\"["]"#, 1)] {
            assert_eq!(depth(text), expected, "{text}");
        }
    }

    #[test]
    fn too_deep_is_refused_before_it_is_parsed() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(parse::<serde_json::Value>(deep.as_bytes()), Err(ApiError::InvalidJson));
        assert_eq!(parse::<serde_json::Value>(b"{\"a\":"), Err(ApiError::InvalidJson));
        assert_eq!(parse::<serde_json::Value>(b"\xff"), Err(ApiError::InvalidJson));
        assert_eq!(parse::<serde_json::Value>(b"[1]"), Err(ApiError::InvalidJson));
        assert!(parse::<serde_json::Value>(b" {}").is_ok());
    }
}
