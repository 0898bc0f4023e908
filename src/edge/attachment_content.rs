//! What an attachment is: text, or one of four kinds of pictures. Its first bytes decide of a picture, its declared
//! type alone of nothing.

use crate::providers::Image;

/// What an attachment may be by the type that its upload declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    Text,
    Image,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Text(String),
    Image { media_type: &'static str, image: Image },
}

/// Types of text that are not `text/…`.
const TEXTS: &[&str] = &[
    "application/json",
    "application/x-ndjson",
    "application/jsonl",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/toml",
    "application/csv",
    "application/markdown",
    "application/javascript",
    "application/sql",
];
/// Types of files of which nothing is said: only a picture is known by itself.
const UNTYPED: &str = "application/octet-stream";
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A type without its parameters, in lower case.
pub fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `None` for a type that is never read.
pub fn declared(content_type: &str) -> Option<Declared> {
    let essence = essence(content_type);
    let is_text = essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || TEXTS.contains(&&*essence);
    if is_text {
        Some(Declared::Text)
    } else if essence.starts_with("image/") || essence == UNTYPED {
        Some(Declared::Image)
    } else {
        None
    }
}

/// `None` for bytes that are not what they were said to be: text that is no UTF-8 or has a zero in it, a picture of
/// another kind than the four.
pub fn read(declared: Declared, bytes: Vec<u8>) -> Option<Content> {
    match declared {
        Declared::Text => {
            let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
            let text = text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text);
            Some(Content::Text(text))
        }
        Declared::Image => {
            let media_type = media_type(&bytes)?;
            Some(Content::Image { media_type, image: Image::new(media_type, &bytes) })
        }
    }
}

/// The kind of picture, by how it begins.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    let begins = |mark: &[u8]| bytes.starts_with(mark);
    if begins(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if begins(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if begins(b"GIF87a") || begins(b"GIF89a") {
        Some("image/gif")
    } else if begins(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some("image/webp")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_says_what_a_file_may_be() {
        for (content_type, expected) in [
            ("text/plain", Some(Declared::Text)),
            ("Text/Markdown; charset=utf-8", Some(Declared::Text)),
            ("text/csv", Some(Declared::Text)),
            ("application/json", Some(Declared::Text)),
            ("application/xml", Some(Declared::Text)),
            ("application/ld+json", Some(Declared::Text)),
            ("image/svg+xml", Some(Declared::Text)),
            ("image/png", Some(Declared::Image)),
            ("image/anything", Some(Declared::Image)),
            ("application/octet-stream", Some(Declared::Image)),
            ("application/pdf", None),
            ("application/zip", None),
            ("video/mp4", None),
            ("", None),
        ] {
            assert_eq!(declared(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn a_picture_is_what_it_begins_like_whatever_it_is_called() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\nmore"[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0more", Some("image/jpeg")),
            (b"GIF89a..", Some("image/gif")),
            (b"GIF87a..", Some("image/gif")),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", Some("image/webp")),
            (b"RIFF\x01\x02\x03\x04WAVE", None),
            (b"RIFF", None),
            (b"\x89PNG", None),
            (b"BM6", None),
            (b"<svg/>", None),
            (b"", None),
        ] {
            let read = read(Declared::Image, bytes.to_vec());
            let found = read.map(|content| match content {
                Content::Image { media_type, image } => {
                    assert!(image.url.starts_with(&format!("data:{media_type};base64,")));
                    media_type
                }
                Content::Text(_) => "text",
            });
            assert_eq!(found, expected, "{bytes:?}");
        }
    }

    #[test]
    fn text_is_utf8_without_a_zero() {
        let text = |bytes: &[u8]| match read(Declared::Text, bytes.to_vec()) {
            Some(Content::Text(text)) => Some(text),
            _ => None,
        };
        assert_eq!(text("é\r\n🙂".as_bytes()).as_deref(), Some("é\r\n🙂"));
        assert_eq!(text(b"\xef\xbb\xbfa,b").as_deref(), Some("a,b"), "the mark is no text");
        for wrong in [&b"\x89PNG\r\n\x1a\n"[..], b"\xff\xfea\0", b"a\0b", b"\xe9t\xe9"] {
            assert_eq!(text(wrong), None, "{wrong:?}");
        }
    }
}
