//! A client's form: its texts, and its files, whose bytes stay with the runtime.

use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{Blob, File, Request};

use super::task::settled;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = cognomega)]
    fn form(request: &Request, bytes_max: f64, text_length_max: f64) -> Promise;

    #[wasm_bindgen(js_namespace = cognomega)]
    fn digest(blob: &Blob) -> Promise;

    #[wasm_bindgen(js_namespace = cognomega)]
    fn base64(blob: &Blob) -> Promise;
}

/// What stands in one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    Text(String),
    /// A text that is longer than any that is read.
    TooLong,
    File,
}

/// A form that was read.
pub struct Form {
    /// In their order.
    pub fields: Vec<(String, Field)>,
    /// Those of the fields that are files, in their order.
    pub files: Vec<File>,
}

/// What is wrong with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    TooLarge,
    /// No multipart form, or one that breaks off.
    Malformed,
}

/// Reads the body of `request`, which has at most `bytes_max` bytes, as a form. Texts have at most `text_length_max`
/// UTF-16 units.
///
/// # Errors
/// [`Unread`].
pub async fn read_form(request: &Request, bytes_max: u32, text_length_max: u32) -> Result<Form, Unread> {
    let read = settled(&form(request, f64::from(bytes_max), f64::from(text_length_max))).await;
    let read = read.map_err(|_| Unread::Malformed)?;
    if read.is_null() {
        return Err(Unread::TooLarge);
    }
    let read = Array::from(&read);
    let mut parts = read.iter();
    let fields = parts.next().and_then(|fields| fields.as_string()).ok_or(Unread::Malformed)?;
    let fields: Vec<(String, serde_json::Value)> =
        serde_json::from_str(&fields).map_err(|_| Unread::Malformed)?;
    let fields = fields.into_iter().map(|(name, value)| match value {
        serde_json::Value::String(text) => (name, Field::Text(text)),
        serde_json::Value::Null => (name, Field::File),
        _ => (name, Field::TooLong),
    });
    Ok(Form { fields: fields.collect(), files: parts.map(JsCast::unchecked_into).collect() })
}

/// SHA-256 of a file's bytes, in hexadecimal digits; they are read as a stream.
pub async fn sha256(blob: &Blob) -> Option<String> {
    settled(&digest(blob)).await.ok()?.as_string()
}

/// A file in base64, as a text of the runtime's.
pub async fn in_base64(blob: &Blob) -> Option<JsValue> {
    settled(&base64(blob)).await.ok().filter(JsValue::is_string)
}

/// The first bytes of a file, at most `bytes_max`.
pub async fn head(blob: &Blob, bytes_max: usize) -> Option<Vec<u8>> {
    let end = i32::try_from(bytes_max).ok()?;
    let buffer = settled(&blob.slice_with_i32_and_i32(0, end).ok()?.array_buffer()).await.ok()?;
    Some(Uint8Array::new(&buffer).to_vec())
}

/// A file of `bytes`.
pub fn of_bytes(bytes: &[u8]) -> Option<Blob> {
    let parts = Array::of1(&Uint8Array::from(bytes));
    Blob::new_with_u8_array_sequence(&parts).ok()
}

/// A file's size in bytes.
pub fn size(blob: &Blob) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let size = blob.size() as u64;
    size
}
