//! `POST /v1/embeddings`: texts to vectors, by OpenAI's form, charged by the tokens of what is read.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answering::{self, Asked};
use super::catalog;
use super::context::Context;
use super::error::ApiError;
use super::form::Form;
use super::json_body;
use super::kept_answer::KeptAnswer;
use super::limits::{CHAT_BODY_BYTES_MAX, EMBEDDING_INPUTS_MAX};
use super::meter;
use super::models;
use super::question::{OnHoldUsed, Question};
use super::reply::Reply;
use crate::providers::{Answer, ChatRequest, Members, Prompt, WholeRequest};

pub async fn embed(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    meter::refused_before(context, &caller)?;
    let bytes = context.inbound.json_bytes(CHAT_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let (question, base64) = parse(context, &bytes)?;
    let form = Form::Embeddings { base64 };
    let asked = Asked { caller, question, form, streams: false, idempotency, digest: context.digest(&bytes) };
    let known = catalog::current(context).await;
    answering::answer(context, &known, asked).await
}

/// # Errors
/// One code for each mistake; nothing was changed then.
fn parse(context: &Context, bytes: &[u8]) -> Result<(Question, bool), ApiError> {
    let wrong = |field: &'static str, expected: &'static str| ApiError::InvalidField { field, expected };
    let members: Members = json_body::parse(bytes)?;
    let model = models::named(&members)?;
    let expected = "a text, a list of 1 to 2,048 texts, or tokens as numbers; none of them empty";
    let inputs = members.value("input").as_ref().and_then(inputs).ok_or(wrong("input", expected))?;
    let base64 = match members.value("encoding_format") {
        None => false,
        Some(Value::String(format)) if format == "float" => false,
        Some(Value::String(format)) if format == "base64" => true,
        Some(_) => return Err(wrong("encoding_format", "`float` or `base64`")),
    };
    let prompt = Prompt::Whole(WholeRequest::embeddings(members, inputs));
    let chat = ChatRequest { prompt, max_tokens: 0, request_id: context.request_id.clone() };
    let question = Question::of_model(model, chat, None, OnHoldUsed::Cut);
    Ok((question, base64))
}

/// How many inputs there are; `None` when they are not what they should be.
fn inputs(input: &Value) -> Option<usize> {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let are_tokens = |list: &[Value]| {
        !list.is_empty() && list.iter().all(|token| token.as_u64().is_some_and(|t| t < 1 << 32))
    };
    match input {
        Value::String(text) => (!text.is_empty()).then_some(1),
        Value::Array(list) if are_tokens(list) => Some(1),
        Value::Array(list) => {
            let each = |item: &Value| is_text(item) || item.as_array().is_some_and(|list| are_tokens(list));
            ((1..=EMBEDDING_INPUTS_MAX).contains(&list.len()) && list.iter().all(each)).then_some(list.len())
        }
        _ => None,
    }
}

/// The body that goes back: what came, in OpenAI's format if it was not, and with the usage that is charged.
pub fn keep_whole(mut kept: KeptAnswer, answer: &Answer, base64: bool) -> KeptAnswer {
    let came = answer.body.as_deref().unwrap_or("{}");
    let mut members: Members = serde_json::from_str(came).unwrap_or_default();
    if let Some(vectors) = bare_vectors(&members) {
        let object = |(index, vector): (usize, &Vec<f64>)| json!({ "object": "embedding", "index": index, "embedding": encoded(vector, base64) });
        members = Members::default();
        members.set("data", &Value::Array(vectors.iter().enumerate().map(object).collect()));
    }
    if members.get("object").is_none() {
        members.set("object", &json!("list"));
    }
    if members.get("model").is_none() {
        members.set("model", &json!(answer.model));
    }
    if kept.basis != "reported" || members.get("usage").is_none() {
        members.set("usage", &json!({ "prompt_tokens": kept.tokens_in, "total_tokens": kept.tokens_in }));
    }
    kept.body = serde_json::value::RawValue::from_string(members.to_text()).ok();
    kept
}

/// Vectors as Workers AI lists them, without an object around each.
fn bare_vectors(members: &Members) -> Option<Vec<Vec<f64>>> {
    let data = members.get("data")?;
    // Only a look: those of others may be many megabytes.
    if !data.get().trim_start_matches(['[', ' ', '\n']).starts_with(|c: char| c == '-' || c.is_ascii_digit())
    {
        return None;
    }
    serde_json::from_str(data.get()).ok()
}

fn encoded(vector: &[f64], base64: bool) -> Value {
    if !base64 {
        return json!(vector);
    }
    #[allow(clippy::cast_possible_truncation)]
    let bytes: Vec<u8> = vector.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect();
    json!(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_counted_and_nothing_else_is_one() {
        for (input, expected) in [
            (json!("a"), Some(1)),
            (json!(["a", "b"]), Some(2)),
            (json!([1, 2, 3]), Some(1)),
            (json!([[1, 2], [3]]), Some(2)),
            (json!(["a", [3]]), Some(2)),
            (json!(vec!["a"; 2_048]), Some(2_048)),
            (json!(vec!["a"; 2_049]), None),
            (json!(""), None),
            (json!([]), None),
            (json!(["a", ""]), None),
            (json!([[]]), None),
            (json!([1.5]), None),
            (json!([-1]), None),
            (json!({"a": 1}), None),
            (json!(7), None),
        ] {
            assert_eq!(inputs(&input), expected, "{input}");
        }
    }

    #[test]
    fn base64_is_of_little_endian_floats() {
        assert_eq!(encoded(&[1.0, -2.5], true), json!("AACAPwAAIMA="));
        assert_eq!(encoded(&[1.0, -2.5], false), json!([1.0, -2.5]));
    }

    #[test]
    fn only_bare_vectors_are_put_into_objects() {
        let members = |text: &str| serde_json::from_str::<Members>(text).unwrap();
        assert_eq!(
            bare_vectors(&members(r#"{"data":[[0.5,-1],[2,3]]}"#)),
            Some(vec![vec![0.5, -1.0], vec![2.0, 3.0]])
        );
        assert_eq!(bare_vectors(&members(r#"{"data":[{"embedding":[0.5]}]}"#)), None);
        assert_eq!(bare_vectors(&members(r#"{"data":[[[0.5]]]}"#)), None);
        assert_eq!(bare_vectors(&members("{}")), None);
    }
}
