//! Pictures in a prompt: how they are sent, and for how many tokens they are taken.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Tokens that a picture is taken for: what models read one of usual size as, what a hold has for it, and the most
/// that a large one in high detail is read as (48,169 at the dearest of today's models).
pub const IMAGE_TOKENS_COUNTED: u64 = 1_000;
pub const IMAGE_TOKENS_HELD: u64 = 3_000;
pub const IMAGE_TOKENS_MAX: u64 = 50_000;

/// A picture with its bytes, as an `image_url` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `data:<media type>;base64,…`
    pub url: String,
}

impl Image {
    pub fn new(media_type: &str, bytes: &[u8]) -> Self {
        let head = format!("data:{media_type};base64,");
        // Four characters for each three bytes begun.
        let characters = bytes.len().div_ceil(3).saturating_mul(4);
        let mut url = String::with_capacity(head.len().saturating_add(characters));
        url.push_str(&head);
        STANDARD.encode_string(bytes, &mut url);
        Self { url }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_its_bytes_in_base64() {
        for (bytes, expected) in [
            (&b"\x89PNG"[..], "data:image/png;base64,iVBORw=="),
            (b"", "data:image/png;base64,"),
            (b"abc", "data:image/png;base64,YWJj"),
        ] {
            let image = Image::new("image/png", bytes);
            assert_eq!(image.url, expected);
            assert_eq!(image.url.capacity(), expected.len(), "made in one piece");
        }
    }
}
