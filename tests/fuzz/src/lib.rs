//! Fuzz targets: what takes apart what strangers send, each held against a check that shares no code with it.
//!
//! A target is a function over bytes that panics when a property does not hold. `make fuzz` has libFuzzer look for such
//! bytes; `cargo test -p fuzz-tests` replays what is kept in `corpus/`, without an engine.

mod api_key;
mod cursor;
mod email;
mod file_name;
mod headers;
mod json_body;
mod jwt;
mod origin;
mod voice;

/// A target's name, which is also the name of its corpus, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("api_key", api_key::run),
    ("cursor", cursor::run),
    ("email", email::run),
    ("file_name", file_name::run),
    ("headers", headers::run),
    ("json_body", json_body::run),
    ("jwt", jwt::run),
    ("origin", origin::run),
    ("voice", voice::run),
];

/// The input as text: headers and queries reach the parsers as that.
fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// `text` with the bytes that `edits` says replaced: pairs of a place and a value. `None` when it is no text any more.
fn edited(text: &str, edits: &[u8]) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    for edit in edits.chunks_exact(3) {
        if let [high, low, value] = *edit {
            let at = usize::from(u16::from_be_bytes([high, low])).checked_rem(bytes.len())?;
            bytes[at] = value;
        }
    }
    String::from_utf8(bytes).ok()
}
