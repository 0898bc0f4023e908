//! From variables to [`Config`]: every default and every bound.

use std::collections::BTreeMap;
use std::rc::Rc;

use actors::shared::{ModelPrice, PriceTable};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::reader::{LookUp, Reader, number_in};
use super::{
    Config, Deadlines, Environment, IdentityMode, LogNames, fallback, identity, jobs, plans, providers,
    response_cache, signing, tiers,
};

/// The largest request that the platform lets through on any of its plans: 500 MB.
const UPLOAD_BYTES_MAX: i64 = 500_000_000;
/// The shortest admin key that is accepted, in characters.
const ADMIN_KEY_CHARS_MIN: usize = 32;

pub(super) fn config(look_up: LookUp<'_>, ai_bound: bool) -> Config {
    let mut reader = Reader { look_up, problems: Vec::new() };
    let environment = environment(&mut reader);
    let identity_mode = identity_mode(&mut reader, environment);
    let price_text = reader.text("CREDIT_PER_1K", "0.05");
    let default_price = reader.price("CREDIT_PER_1K", &price_text);
    let prices = PriceTable { default: default_price, models: model_prices(&mut reader) };
    let deadlines = deadlines(&mut reader);
    let (providers, skipped_providers, offers) =
        providers::read(&mut reader, environment, ai_bound, deadlines);
    let max_output_tokens = small(reader.number("MAX_OUTPUT_TOKENS", 4_096, 1, 1_000_000));
    let default_max_tokens = small(reader.number("DEFAULT_MAX_TOKENS", 512, 1, 1_000_000));
    if default_max_tokens > max_output_tokens {
        reader.problem("DEFAULT_MAX_TOKENS", "give no more than MAX_OUTPUT_TOKENS");
    }
    let tiers = tiers::read(&mut reader, &providers);
    let allowed_origins = origins(&mut reader);
    let signing = signing::read(look_up("PRIVATE_KEY_PEM").as_deref());
    let admin_key = admin_key_of(&mut reader, "ADMIN_API_KEY");
    let admin_key_next = admin_key_of(&mut reader, "ADMIN_API_KEY_NEXT");
    let log_names = LogNames::new(signing.as_ref().ok(), admin_key.or(admin_key_next).as_ref());
    let named = signing.as_ref().ok().and_then(|key| key.kid.clone());
    Config {
        environment,
        logs_commands: logs_commands(&mut reader),
        identity_mode,
        issuer: issuer(&mut reader),
        // A minute is the shortest life a client may count on; a day the longest a guest needs.
        token_ttl_s: reader.number("JWT_TTL_SEC", 3_600, 60, 86_400),
        trusted_issuers: identity::trusted_issuers(&mut reader, environment),
        turnstile: identity::turnstile(&mut reader, environment, &allowed_origins),
        guest_tokens_per_minute: reader.number("GUEST_TOKENS_PER_MINUTE", 30, 0, 1_000_000),
        guest_tokens_per_day: reader.number("GUEST_TOKENS_PER_DAY", 20_000, 0, 1_000_000_000),
        allowed_origins,
        exchanges_per_minute: reader.number("EXCHANGES_PER_MINUTE", 30, 0, 1_000_000),
        kid: named.unwrap_or_else(|| reader.text("KID", "k1")),
        signing,
        admin_key,
        admin_key_next,
        log_names,
        providers,
        skipped_providers,
        response_cache: response_cache::read(&mut reader),
        offers,
        prices: Rc::new(prices),
        catalog_ttl_ms: reader.number("CATALOG_TTL_MS", 10_000, 10, 3_600_000),
        // Two hours; a day is the most.
        audio_seconds_max: small(reader.number("AUDIO_SECONDS_MAX", 7_200, 1, 86_400)),
        upload_bytes_max: usize::try_from(reader.number("MAX_UPLOAD_BYTES", 10_485_760, 1, UPLOAD_BYTES_MAX))
            .unwrap_or(usize::MAX),
        default_max_tokens,
        max_output_tokens,
        deadlines,
        fallback: fallback::read(&mut reader),
        experiments_ttl_ms: reader.number("EXPERIMENTS_TTL_MS", 30_000, 0, 600_000),
        jobs: jobs::read(&mut reader),
        policy: plans::policy(&mut reader, &tiers),
        tiers,
        problems: reader.problems,
    }
}

fn logs_commands(reader: &mut Reader<'_>) -> bool {
    match reader.text("LOG_LEVEL", "info").as_str() {
        "info" => false,
        "debug" => true,
        _ => {
            reader.problem("LOG_LEVEL", "give `info` or `debug`");
            false
        }
    }
}

fn environment(reader: &mut Reader<'_>) -> Environment {
    match reader.text("ENVIRONMENT", "production").as_str() {
        "production" => Environment::Production,
        "development" => Environment::Development,
        _ => {
            reader.problem("ENVIRONMENT", "give `production` or `development`");
            Environment::Production
        }
    }
}

fn issuer(reader: &mut Reader<'_>) -> String {
    let issuer = reader.text("ISSUER", "https://api.cognomega.com");
    let known = url::Url::parse(&issuer).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
    if !known {
        reader.problem(
            "ISSUER",
            "give the URL that clients reach this API at, such as `https://api.example.com`",
        );
    }
    issuer
}

fn identity_mode(reader: &mut Reader<'_>, environment: Environment) -> IdentityMode {
    match reader.text("IDENTITY_MODE", "verified").as_str() {
        "verified" => IdentityMode::Verified,
        "asserted" if environment == Environment::Development => IdentityMode::Asserted,
        "asserted" => {
            reader.problem(
                "IDENTITY_MODE",
                "`asserted` lets anyone spend anyone's credits and is refused in production; use `verified`",
            );
            IdentityMode::Verified
        }
        _ => {
            reader.problem("IDENTITY_MODE", "give `verified`, or `asserted` in development");
            IdentityMode::Verified
        }
    }
}

fn deadlines(reader: &mut Reader<'_>) -> Deadlines {
    let first_byte_ms = reader.number("FIRST_BYTE_TIMEOUT_MS", 20_000, 10, 600_000);
    // Many servers send their headers with the first token.
    let connect_ms = reader.number("CONNECT_TIMEOUT_MS", first_byte_ms, 10, 600_000);
    let answer_ms = reader.number("ANSWER_TIMEOUT_MS", 45_000, 10, 600_000);
    let idle_ms = reader.number("IDLE_TIMEOUT_MS", 15_000, 10, 600_000);
    let total_ms = reader.number("ASK_TIMEOUT_MS", 60_000, 10, 900_000);
    let hold_ttl_ms = reader.number("HOLD_TTL_MS", 120_000, 20, 3_600_000);
    if hold_ttl_ms <= total_ms {
        reader.problem(
            "HOLD_TTL_MS",
            "give more than ASK_TIMEOUT_MS, or a hold could end before its work does",
        );
    }
    Deadlines { connect_ms, first_byte_ms, answer_ms, idle_ms, total_ms, hold_ttl_ms }
}

/// The digest of a live key. Too short a key is refused rather than trusted.
fn admin_key_of(reader: &mut Reader<'_>, name: &'static str) -> Option<[u8; 32]> {
    let key = (reader.look_up)(name)?;
    if key.trim().chars().count() < ADMIN_KEY_CHARS_MIN {
        let cure = format!("give at least {ADMIN_KEY_CHARS_MIN} characters: openssl rand -hex 32");
        reader.problem(name, cure);
        return None;
    }
    Some(Sha256::digest(key.trim()).into())
}

fn model_prices(reader: &mut Reader<'_>) -> BTreeMap<String, ModelPrice> {
    let Some(text) = (reader.look_up)("MODEL_PRICES") else {
        return BTreeMap::new();
    };
    let table = serde_json::from_str::<Map<String, Value>>(&text);
    let table =
        table.map(|table| table.into_iter().map(|(model, price)| (model, number_in(price))).collect());
    let table = table.map_err(|_| "give a JSON object: model to price".to_owned());
    table.and_then(|table| PriceTable::models_from_json(&table)).unwrap_or_else(|cure| {
        reader.problem("MODEL_PRICES", cure);
        BTreeMap::new()
    })
}

/// Origins as browsers write them. `null`, `*` and everything else that is no origin is a mistake: it would let
/// in more than one page, or none.
fn origins(reader: &mut Reader<'_>) -> Vec<String> {
    let csv = reader.text("ALLOWED_ORIGINS", "");
    let (good, bad): (Vec<&str>, Vec<&str>) = csv
        .split(',')
        .map(|origin| origin.trim().trim_end_matches('/'))
        .filter(|origin| !origin.is_empty())
        .partition(|origin| is_origin(origin));
    if !bad.is_empty() {
        reader.problem(
            "ALLOWED_ORIGINS",
            "list origins as `https://app.example.com`, with one `*` label at most, as in `https://*.example.com`",
        );
    }
    good.into_iter().map(str::to_owned).collect()
}

fn is_origin(rule: &str) -> bool {
    let concrete = rule.replacen("://*.", "://label.", 1);
    let host_is_deep = concrete == rule || concrete.matches('.').count() >= 2;
    let parsed = url::Url::parse(&concrete).map(|url| url.origin().ascii_serialization());
    !concrete.contains('*')
        && host_is_deep
        && concrete.starts_with("http")
        && parsed.is_ok_and(|origin| origin == concrete)
}

/// Numbers whose bounds were checked already.
pub(super) fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
