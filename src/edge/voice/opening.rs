//! Opening a session: what it is asked to be, what a turn of it may cost, its ticket.

use actors::shared::ModelPrice;
use actors::tenant::{VoiceCommand, VoiceReply};
use actors::tickets::{NewTicket, Purpose};
use actors::voice::{Detection, Open, Prices, Settings, TurnBounds};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::super::catalog;
use super::super::context::{Context, unexpected};
use super::super::error::ApiError;
use super::super::identity::Caller;
use super::super::moment::iso_time;
use super::super::reply::Reply;
use super::super::{json_body, models, routed_secret, tickets};
use super::{PROTOCOL, ask, prefs, session_id};
use crate::platform::config::Provider;
use crate::platform::random_bytes;
use crate::platform::voice_stub::{self, VoiceAsked};

/// The body, in bytes: what the model is told first has four kilobytes, and twice that as JSON.
const BODY_BYTES_MAX: usize = 16_384;
/// The shortest time that a session waits for its client, in milliseconds.
const WINDOW_MS_MIN: i64 = 1_000;
/// The name in the table of prices that attached time has. One without `per_minute` is free.
const ATTACHED_TIME: &str = "voice-session";

/// What a client asks a session to be. Each is absent or `null` where the usual is wanted.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    pub sample_rate_hz: Option<Value>,
    pub detection: Option<Value>,
    pub window_ms: Option<Value>,
    pub system: Option<Value>,
    pub bounds: Option<Value>,
    pub prefs: Option<Value>,
}

/// One of the fields, typed.
fn typed<T: DeserializeOwned>(
    value: Option<Value>,
    field: &'static str,
    expected: &'static str,
) -> Result<Option<T>, ApiError> {
    let typed = value.map(|value| serde_json::from_value(value)).transpose();
    typed.map_err(|_| ApiError::InvalidField { field, expected })
}

/// A session that was opened.
pub struct Made {
    pub session: String,
    pub ticket: String,
    pub expires_at_ms: i64,
}

/// `POST /api/voice/sessions` → the session, and the ticket of its first socket.
pub async fn create(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let bytes = context.inbound.json_bytes(BODY_BYTES_MAX).await?;
    if context.idempotency(&caller, &bytes)?.is_some() {
        // The same ticket could not be given again: only its digest is kept.
        return Err(ApiError::InvalidField {
            field: "Idempotency-Key",
            expected: "none: who lost a ticket opens another session",
        });
    }
    let asked =
        if bytes.iter().all(u8::is_ascii_whitespace) { Asked::default() } else { json_body::parse(&bytes)? };
    let made = open(context, &caller, asked).await?;
    Ok(Reply::json(
        201,
        &json!({
            "session": made.session,
            "ticket": made.ticket,
            "url": url(context, &made.session),
            "protocol": PROTOCOL,
            "expires_at": iso_time(made.expires_at_ms),
        }),
    ))
}

/// `GET /api/tts/cartesia/realtime-token` → a token of ours for a session of the usual kind, never the provider's key.
pub async fn realtime_token(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    if context.config.offers.cartesia.is_empty() {
        return Err(ApiError::CartesiaUnconfigured);
    }
    let made = open(context, &caller, Asked::default()).await?;
    Ok(Reply::json(
        200,
        &json!({
            "token": made.ticket,
            "session": made.session,
            "url": url(context, &made.session),
            "protocol": PROTOCOL,
            "expires_at": iso_time(made.expires_at_ms),
        }),
    ))
}

fn url(context: &Context, session: &str) -> String {
    context.inbound.socket_url(&format!("/api/voice/sessions/{session}/ws"))
}

/// Opens a session for `caller`.
///
/// # Errors
/// `InvalidField`, `InvalidSetting`, `UnknownModel`, `AskFailed` without a provider; `InsufficientCredits` where a turn is
/// not covered; `TooManySessions`, `TooManyTickets`.
pub async fn open(context: &Context, caller: &Caller, asked: Asked) -> Result<Made, ApiError> {
    let origin = context.page()?;
    let settings = settings(context, caller, asked).await?;
    settings.check()?;
    let need = settings.prices.hold(&settings.bounds).sum();
    let (session, secret) = (session_id::fresh(&caller.tenant, &random_bytes()), random_bytes());
    let ticket = tickets::compose(&caller.tenant, &secret).ok_or_else(unexpected)?;
    let new = NewTicket {
        digest: routed_secret::digest(&secret),
        purpose: Purpose::Voice { session: session.clone() },
        origin: origin.clone(),
        credential_ends_at_ms: context.token_ends_at_ms(),
    };
    let slot = VoiceCommand::Open { session: session.clone(), need, ticket: Some(new) };
    let VoiceReply::Opened { expires_at_ms: Some(expires_at_ms) } = ask(context, caller, slot).await? else {
        return Err(unexpected());
    };
    let open = Open {
        session: session.clone(),
        tenant: caller.tenant.clone(),
        api_key: caller.api_key.clone(),
        origin,
        settings,
    };
    if let Err(refusal) = voice_stub::send(context.origin(), &session, VoiceAsked::Open(Box::new(open))).await
    {
        let _comes_free_by_itself = ask(context, caller, VoiceCommand::Ended { session }).await;
        return Err(refusal.into());
    }
    Ok(Made { session, ticket, expires_at_ms })
}

async fn settings(context: &Context, caller: &Caller, asked: Asked) -> Result<Settings, ApiError> {
    let own: Map<String, Value> = typed(asked.prefs, "prefs", "an object")?.unwrap_or_default();
    prefs::check(&own)?;
    let mut prefs = prefs::merged(&prefs::saved(context, caller).await?, &own);
    let usual = Settings::default();
    let window_ms =
        typed(asked.window_ms, "window_ms", "a number of milliseconds")?.unwrap_or(usual.window_ms);
    if window_ms < WINDOW_MS_MIN {
        return Err(ApiError::InvalidField { field: "window_ms", expected: "from 1000 to 600000" });
    }
    let detection = typed::<Detection>(
        asked.detection,
        "detection",
        "`client`, or `{\"energy\": {\"silence_ms\": …}}` with 100 to 5000",
    )?;
    let prices = prices(context, &mut prefs).await?;
    Ok(Settings {
        sample_rate_hz: typed(asked.sample_rate_hz, "sample_rate_hz", "a number of samples a second")?
            .unwrap_or(usual.sample_rate_hz),
        detection: detection.unwrap_or(usual.detection),
        window_ms,
        prices,
        bounds: bounds(context, asked.bounds)?,
        system: typed(asked.system, "system", "a text")?,
        prefs: Value::Object(prefs),
    })
}

/// What one turn may be at most; what is not said is the usual.
fn bounds(context: &Context, asked: Option<Value>) -> Result<TurnBounds, ApiError> {
    const EXPECTED: &str = "an object of `utterance_ms`, `tokens_in`, `tokens_out` and `characters`";
    let usual =
        TurnBounds { tokens_out: u64::from(context.config.default_max_tokens), ..TurnBounds::default() };
    let asked: Map<String, Value> = typed(asked, "bounds", EXPECTED)?.unwrap_or_default();
    let mut all = serde_json::to_value(usual).unwrap_or_default();
    if let Some(all) = all.as_object_mut() {
        all.extend(asked.into_iter().filter(|(_, value)| !value.is_null()));
    }
    let bounds: Option<TurnBounds> = typed(Some(all), "bounds", EXPECTED)?;
    let bounds = bounds.unwrap_or(usual);
    if bounds.tokens_out > u64::from(context.config.max_output_tokens) {
        return Err(ApiError::InvalidField { field: "bounds", expected: "fewer `tokens_out`" });
    }
    Ok(bounds)
}

/// What each stage costs: as its first provider's model does. Who stands in for it costs the same: a session's prices
/// are those that it was opened with. The models are noted beside the preferences, for holds and usage rows.
async fn prices(context: &Context, prefs: &mut Map<String, Value>) -> Result<Prices, ApiError> {
    let known = catalog::current(context).await;
    let pricing = known.pricing(None);
    let config = &context.config;
    let mut priced = Map::new();
    let mut price = |usual: &[Provider], name: &str| -> Result<ModelPrice, ApiError> {
        let named = prefs.get(name).and_then(Value::as_str).map(str::to_owned);
        let serving = models::serving(usual, named.as_deref().unwrap_or(models::AUTO))?;
        let Some(first) = serving.first() else {
            return Err(ApiError::AskFailed { detail: "no provider is configured".to_owned() });
        };
        priced.insert(name.to_owned(), json!(first.model));
        match named.as_deref() {
            None => {}
            Some(models::AUTO) => drop(prefs.remove(name)),
            // As its provider calls it, without the provider's name.
            Some(_) => drop(prefs.insert(name.to_owned(), json!(first.model))),
        }
        Ok(pricing.price_of(&first.model))
    };
    let llm = price(&config.providers, "model")?;
    let stt = price(&config.offers.transcription, "stt_model")?;
    let tts = price(&config.offers.speech, "tts_model")?;
    prefs.insert("priced".to_owned(), Value::Object(priced));
    let per_minute_micro = pricing.price_of(ATTACHED_TIME).per_minute_micro;
    let session = ModelPrice { per_minute_micro, ..ModelPrice::flat(0) };
    Ok(Prices { session, stt, llm, tts })
}
