//! `transcribe`: a recording that its tenant uploaded, as text. It goes the way of `/v1/audio/transcriptions`, with its hold
//! and its prices from when it was made; the bytes stay with the runtime, and are read when it is done.

use actors::jobs::RESULT_BYTES_MAX;
use actors::shared::TenantId;
use futures::future::FutureExt;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use web_sys::Blob;

use super::attempt::Attempt;
use super::kinds::{Done, Failure, Kind, Making, Prepared};
use super::si::{failure, unreadable};
use super::stored::{ATTACHMENT_CHANGED, Quote};
use crate::edge::attached_room::Room;
use crate::edge::attachments::{self, Named, Own, unavailable};
use crate::edge::audio::charge::{Recorded, Told};
use crate::edge::audio::hearing;
use crate::edge::audio::recording::{self, file_name, media};
use crate::edge::audio::wish::{Wish, wrong};
use crate::edge::error::ApiError;
use crate::edge::limits::RECORDING_BYTES_MAX;
use crate::edge::meter::{self, WorkEnd};
use crate::edge::models::AUTO;
use crate::edge::offer::{self, Offer};
use crate::edge::operation::Operation;
use crate::platform::{bucket, now_ms, timer, uploads};
use crate::providers::{self, Answered, HEAD_BYTES_MAX, SoundLength, Transcript, TranscriptionRequest};

pub const KIND: Kind = Kind {
    name: "transcribe",
    prepare: |making, params| prepare(making, params).boxed_local(),
    run: |attempt| run(attempt).boxed_local(),
    rules: |usual| usual,
    final_errors: &[
        "request_refused",
        "invalid_field",
        "invalid_json",
        "model_not_found",
        "unknown_tier",
        "attachment_not_found",
        "attachment_too_large",
        ATTACHMENT_CHANGED,
    ],
};

/// How soon it is looked again whether the isolate has room for a recording, in milliseconds.
const ROOM_WAIT_MS: u32 = 250;
/// What a result has besides the provider's own words, in bytes: names, and what it cost.
const RESULT_FRAME_BYTES: usize = 1_024;
/// Members that are left out of a result that would be too large, the largest first. The text is what was asked for.
const LEFT_OUT_FIRST: [&str; 3] = ["words", "segments", "logprobs"];

/// What is asked.
struct Asked {
    named: Named,
    wish: Wish,
    /// For the provider, as a form has them.
    fields: Vec<(String, String)>,
}

impl Asked {
    /// # Errors
    /// `InvalidField`.
    fn read(params: &RawValue) -> Result<Self, ApiError> {
        let params: Map<String, Value> =
            serde_json::from_str(params.get()).map_err(|_| ApiError::InvalidJson)?;
        let named = params.get("audio").and_then(Named::of);
        let named = named.ok_or(wrong("audio", "the key of an upload, or an object with a `key`"))?;
        let mut texts = Vec::new();
        for (field, expected) in [
            ("model", "the name of a model of GET /v1/models, or `auto`"),
            ("language", "a language's code, such as `en`"),
            ("prompt", "a text of at most 4,096 characters"),
            ("response_format", "`json`, `text`, `srt`, `verbose_json` or `vtt`"),
        ] {
            match params.get(field) {
                None | Some(Value::Null) if field == "model" => texts.push((field, AUTO.to_owned())),
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => texts.push((field, text.clone())),
                Some(_) => return Err(wrong(field, expected)),
            }
        }
        match params.get("temperature") {
            None | Some(Value::Null) => {}
            Some(Value::Number(number)) => texts.push(("temperature", number.to_string())),
            Some(_) => return Err(wrong("temperature", "a number from 0 to 1")),
        }
        const GRANULARITIES: &str = "timestamp_granularities";
        let expected = "a list of `word` and `segment`";
        match params.get(GRANULARITIES) {
            None | Some(Value::Null) => {}
            // Each once.
            Some(Value::Array(list)) if list.len() <= 2 => {
                for one in list {
                    let one = one.as_str().ok_or(wrong(GRANULARITIES, expected))?;
                    texts.push(("timestamp_granularities[]", one.to_owned()));
                }
            }
            Some(_) => return Err(wrong(GRANULARITIES, expected)),
        }
        let texts: Vec<(String, String)> =
            texts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
        let wish = Wish::read(&texts)?;
        let fields = texts.into_iter().filter(|(name, _)| name != "model").collect();
        Ok(Self { named, wish, fields })
    }
}

/// The upload that is named, as far as its price depends on it.
struct Found {
    own: Own,
    length: SoundLength,
    recorded: Recorded,
}

impl Found {
    /// # Errors
    /// `R2NotBound`, `Unavailable`; `AttachmentNotFound`, `AttachmentTooLarge`; `InvalidField` for what is no sound, or too
    /// long.
    async fn look(operation: &Operation, tenant: &TenantId, asked: &Asked) -> Result<Self, ApiError> {
        const GONE: ApiError = ApiError::AttachmentNotFound { index: 0 };
        let own = attachments::own(operation, tenant, std::slice::from_ref(&asked.named)).await?;
        let own = own.into_iter().next().ok_or(GONE)??;
        let max_bytes = usize::try_from(RECORDING_BYTES_MAX).unwrap_or(usize::MAX);
        if own.head.size > max_bytes {
            return Err(ApiError::AttachmentTooLarge { index: 0, max_bytes });
        }
        let head = match own.head.size {
            0 => Vec::new(),
            _ => {
                let first = bucket::first_bytes(&operation.env, &own.key, HEAD_BYTES_MAX).await;
                first.map_err(unavailable)?.ok_or(GONE)?
            }
        };
        let bytes = u64::try_from(own.head.size).unwrap_or(u64::MAX);
        let length = recording::length(&operation.config, "audio", &head, bytes)?;
        if head.is_empty() || !(length.is_of_sound() || is_said_to_be_sound(&own.head.content_type)) {
            return Err(wrong("audio", "an upload of sound, by how it begins or by its type"));
        }
        let recorded = Recorded::new(length, asked.wish.prompt.as_deref());
        Ok(Self { own, length, recorded })
    }
}

/// Films have sound too.
fn is_said_to_be_sound(content_type: &str) -> bool {
    let content_type = content_type.to_ascii_lowercase();
    content_type.starts_with("audio/") || content_type.starts_with("video/")
}

async fn prepare(making: &Making, params: &RawValue) -> Result<Prepared, ApiError> {
    let Making { operation, known, caller, .. } = making;
    let asked = Asked::read(params)?;
    let found = Found::look(operation, &caller.tenant, &asked).await?;
    let pricing = known.pricing(None);
    let heard = (found.recorded, false);
    let offer = hearing::offered(&operation.config, making.tier()?, pricing, &asked.wish.model, heard)?;
    let owner = meter::owner(operation, caller, &offer);
    let quote = Quote::new(&offer.pricing, owner.models.iter());
    Ok(Prepared { amount: offer.hold, owner, quote: Some(quote), file_bytes: Some(found.own.head.size) })
}

async fn run(attempt: &Attempt) -> Result<Done, Failure> {
    let stored = attempt.stored.as_ref().ok_or_else(unreadable)?;
    let quote = stored.quote.clone().ok_or_else(unreadable)?;
    let operation = &attempt.operation;
    let asked = Asked::read(&stored.params)?;
    let found = Found::look(operation, &attempt.tenant, &asked).await?;
    stored.still_pays(found.own.head.size)?;
    let offer = offered(attempt, quote, &asked, &found)?;
    let _room = room(found.own.head.size).await;
    let file = bucket::blob(&operation.env, &found.own.key).await.map_err(unavailable)?;
    let file = file.ok_or(ApiError::AttachmentNotFound { index: 0 })?;
    let file_bytes = uploads::size(&file);
    stored.still_pays(usize::try_from(file_bytes).unwrap_or(usize::MAX))?;
    let recorded = found.recorded;
    let request = request(operation, asked, &found, (file, file_bytes));
    let end_ms = now_ms().saturating_add(operation.config.deadlines.total_ms);
    let answered =
        providers::transcribe(&operation.env, &operation.config, &offer.providers, &request, end_ms);
    let Answered { provider, value: transcript, attempts } =
        answered.await.map_err(|failed| failure(&failed))?;
    let held = attempt.job.terms.amount;
    let told = Told::from(&transcript);
    let of = (&provider, attempts.as_slice());
    let work = hearing::work((&offer.pricing, held), recorded, of, told, WorkEnd::Complete);
    meter::flag(operation, &work);
    let (charge, usage) = meter::charged(operation, &offer.pricing, &work, Some(held));
    let shown = shown(&transcript, request.format.is_json(), (work.provider, work.model));
    let result = shown.and_then(|shown| to_raw_value(&shown).ok());
    let result = result.ok_or_else(|| Failure::new("si_ask_failed", "no provider answered: malformed"))?;
    Ok(Done { result, charge, usage })
}

/// Who may write it down, for what was set aside when the job was made.
fn offered(attempt: &Attempt, quote: Quote, asked: &Asked, found: &Found) -> Result<Offer, ApiError> {
    let (config, terms) = (&attempt.operation.config, &attempt.job.terms);
    let tier = offer::tier_named(config, terms.tier.as_deref())?;
    let heard = (found.recorded, false);
    let mut offer = hearing::offered(config, tier, quote.pricing(), &asked.wish.model, heard)?;
    offer.providers.retain(|provider| terms.owner.models.contains(&provider.model));
    Ok(offer)
}

/// Waits until the isolate has room for so many bytes. The attempt's own end ends it too.
async fn room(bytes: usize) -> Room {
    loop {
        if let Some(room) = Room::of_recording(bytes) {
            return room;
        }
        timer::sleep(ROOM_WAIT_MS).await;
    }
}

fn request(
    operation: &Operation,
    asked: Asked,
    found: &Found,
    (file, file_bytes): (Blob, u64),
) -> TranscriptionRequest {
    let Asked { wish: Wish { format, language, prompt, .. }, fields, .. } = asked;
    TranscriptionRequest {
        file,
        file_name: file_name(&found.own.name, found.length),
        file_bytes,
        media: media(found.own.head.content_type.clone()),
        fields,
        format,
        language,
        prompt,
        request_id: operation.request_id.clone(),
    }
}

/// The provider's own members, where it answers with any, and else its `text`; `None` for what cannot be read.
fn shown(transcript: &Transcript, is_json: bool, (provider, model): (&str, &str)) -> Option<Value> {
    let mut members: Map<String, Value> = match is_json {
        true => serde_json::from_str(&transcript.body).ok()?,
        false => Map::from_iter([("text".to_owned(), json!(transcript.body))]),
    };
    let bytes_max = RESULT_BYTES_MAX.saturating_sub(RESULT_FRAME_BYTES);
    let is_too_large = |members: &Map<String, Value>| json!(members).to_string().len() > bytes_max;
    let mut left_out = Vec::new();
    for name in LEFT_OUT_FIRST {
        if is_too_large(&members) && members.remove(name).is_some() {
            left_out.push(name);
        }
    }
    if !left_out.is_empty() {
        members.insert("left_out".to_owned(), json!(left_out));
    }
    members.insert("provider".to_owned(), json!(provider));
    members.insert("model".to_owned(), json!(model));
    Some(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::TranscriptFormat;

    fn read(params: &Value) -> Result<Asked, ApiError> {
        Asked::read(&to_raw_value(params).unwrap())
    }

    #[test]
    fn params_are_read_as_a_form_is() {
        let asked = read(&json!({ "audio": "k" })).unwrap();
        assert_eq!((asked.wish.model.as_str(), asked.wish.format), (AUTO, TranscriptFormat::Json));
        assert!(asked.fields.is_empty(), "{:?}", asked.fields);
        let asked = read(&json!({
            "audio": { "key": "k", "name": "a.wav" }, "model": "whisper-1", "language": "de", "prompt": null,
            "response_format": "verbose_json", "temperature": 0.5, "timestamp_granularities": ["word", "segment"],
        }));
        let fields = asked.unwrap().fields;
        let field = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let expected = [
            field("language", "de"),
            field("response_format", "verbose_json"),
            field("temperature", "0.5"),
            field("timestamp_granularities[]", "word"),
            field("timestamp_granularities[]", "segment"),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn each_wrong_param_is_named() {
        for (more, field) in [
            (json!({ "audio": null }), "audio"),
            (json!({ "audio": 7 }), "audio"),
            (json!({ "audio": {} }), "audio"),
            (json!({ "model": "" }), "model"),
            (json!({ "model": 7 }), "model"),
            (json!({ "language": "en us" }), "language"),
            (json!({ "prompt": [] }), "prompt"),
            (json!({ "response_format": "xml" }), "response_format"),
            (json!({ "temperature": "0.5" }), "temperature"),
            (json!({ "temperature": 1.5 }), "temperature"),
            (json!({ "timestamp_granularities": "word" }), "timestamp_granularities"),
            (json!({ "timestamp_granularities": [7] }), "timestamp_granularities"),
            (json!({ "timestamp_granularities": ["word"] }), "timestamp_granularities[]"),
        ] {
            let mut params = json!({ "audio": "k" });
            params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let error = read(&params).err();
            assert!(
                matches!(error, Some(ApiError::InvalidField { field: named, .. }) if named == field),
                "{more}: {error:?}"
            );
        }
    }

    #[test]
    fn what_is_too_large_for_a_result_is_left_out_but_for_the_text() {
        let words = vec![json!({ "word": "x".repeat(50), "start": 0, "end": 1 }); 20_000];
        let segments = vec![json!({ "text": "x".repeat(50) }); 10];
        let body =
            json!({ "text": "all of it", "provider": "another", "words": words, "segments": segments });
        let transcript = Transcript { body: body.to_string(), reported: None, characters: 9 };
        let shown = shown(&transcript, true, ("p", "m")).unwrap();
        assert!(shown.to_string().len() <= RESULT_BYTES_MAX);
        assert_eq!((&shown["text"], &shown["left_out"]), (&json!("all of it"), &json!(["words"])));
        assert_eq!((&shown["provider"], &shown["segments"]), (&json!("p"), &json!(segments)));
    }

    #[test]
    fn a_transcript_that_is_no_object_is_the_text_of_the_result() {
        let transcript = Transcript { body: "WEBVTT\n\n".to_owned(), reported: None, characters: 0 };
        let expected = json!({ "text": "WEBVTT\n\n", "provider": "p", "model": "m" });
        assert_eq!(shown(&transcript, false, ("p", "m")), Some(expected));
        assert_eq!(shown(&transcript, true, ("p", "m")), None);
    }
}
