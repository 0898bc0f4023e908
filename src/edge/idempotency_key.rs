//! `Idempotency-Key`, as a client writes it.

use actors::tenant::KEY_BYTES_MAX;

use super::error::ApiError;

/// The key in a header: 1 to [`KEY_BYTES_MAX`] visible ASCII characters, spaces around it aside.
///
/// # Errors
/// `InvalidIdempotencyKey`.
pub fn read(header: &str) -> Result<&str, ApiError> {
    let key = header.trim();
    let visible = key.bytes().all(|b| b.is_ascii_graphic());
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !visible {
        return Err(ApiError::InvalidIdempotencyKey);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_and_bounded() {
        let longest = "k".repeat(KEY_BYTES_MAX);
        assert_eq!(read(" order-7\t"), Ok("order-7"));
        assert_eq!(read(&longest), Ok(longest.as_str()));
        for wrong in ["", " ", "a b", "ä", "a\u{7f}", "a\0", &format!("{longest}k")] {
            assert_eq!(read(wrong), Err(ApiError::InvalidIdempotencyKey), "{wrong:?}");
        }
    }
}
