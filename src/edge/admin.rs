//! What an operator asks of the Worker itself.

use serde_json::{Map, Value, json};

use super::context::Context;
use super::error::ApiError;
use super::moment::iso_time;
use super::reply::Reply;
use crate::platform::{config, now_ms};

/// Variables that are no secret.
const VARS: &[&str] = &[
    "ENVIRONMENT",
    "IDENTITY_MODE",
    "ALLOWED_ORIGINS",
    "ISSUER",
    "JWT_TTL_SEC",
    "KID",
    "PREFERRED_PROVIDER",
    "PROVIDERS",
    "PROVIDER_RETRIES",
    "HEDGE_AFTER_MS",
    "BREAKER_FAILURES",
    "BREAKER_ERROR_PERCENT",
    "BREAKER_OPEN_MS",
    "BREAKER_OPEN_MAX_MS",
    "GROQ_MODEL",
    "GROQ_BASE",
    "CF_AI_MODEL",
    "OPENAI_MODEL",
    "OPENAI_BASE",
    "LOCAL_MODEL",
    "LOCAL_BASE",
    "CREDIT_PER_1K",
    "MODEL_PRICES",
    "CATALOG_TTL_MS",
    "GUEST_TOKENS_PER_MINUTE",
    "GUEST_TOKENS_PER_DAY",
    "EXCHANGES_PER_MINUTE",
    "TRUSTED_ISSUERS",
    "TURNSTILE_HOSTNAMES",
    "GUEST_GRANT_CREDITS",
    "GUEST_GRANT_TTL_SEC",
    "REQUESTS_PER_MINUTE",
    "PLANS",
    "DEFAULT_PLAN",
    "GUEST_PLAN",
    "TIERS",
    "DEFAULT_MAX_TOKENS",
    "MAX_OUTPUT_TOKENS",
    "CONNECT_TIMEOUT_MS",
    "FIRST_BYTE_TIMEOUT_MS",
    "IDLE_TIMEOUT_MS",
    "ANSWER_TIMEOUT_MS",
    "ASK_TIMEOUT_MS",
    "HOLD_TTL_MS",
    "MAX_UPLOAD_BYTES",
    "EXPERIMENTS_TTL_MS",
    "JOB_LEASE_MS",
    "JOB_ATTEMPTS",
    "JOB_WAIT_FIRST_MS",
    "JOB_WAIT_MAX_MS",
    "JOB_TTL_MS",
    "JOB_RESULT_TTL_MS",
    "LOG_LEVEL",
];
const SECRETS: &[&str] = &[
    "PRIVATE_KEY_PEM",
    "ADMIN_API_KEY",
    "ADMIN_API_KEY_NEXT",
    "TURNSTILE_SECRET",
    "GROQ_API_KEY",
    "OPENAI_API_KEY",
    "LOCAL_API_KEY",
    "CARTESIA_API_KEY",
];
const BINDINGS: &[&str] =
    &["TENANT", "ADDRESS", "CATALOG", "EXPERIMENT", "KEYS", "KV_BILLING", "R2_UPLOADS", "R2", "JOBS", "AI"];

/// `/api/admin/ping`.
pub fn ping(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    Ok(Reply::json(200, &json!({ "ok": true })))
}

/// `GET /api/admin/env-snapshot`: variables as they are; of secrets and bindings only whether they are there.
pub fn env_snapshot(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let vars = VARS.iter().map(|name| {
        // An address may hold a user and a password by mistake; what was refused is not shown.
        let is_address = name.ends_with("_BASE");
        let shown = config::variable(&context.env, name).filter(|text| !(is_address && text.contains('@')));
        ((*name).to_owned(), json!(shown))
    });
    let secrets = SECRETS
        .iter()
        .map(|name| ((*name).to_owned(), json!(config::variable(&context.env, name).is_some())));
    let bindings =
        BINDINGS.iter().map(|name| ((*name).to_owned(), json!(config::has_binding(&context.env, name))));
    let body = json!({
        "ok": true,
        "at": iso_time(now_ms()),
        "note": "secrets and bindings show only whether they are set",
        "vars": Value::Object(vars.collect::<Map<_, _>>()),
        "secrets": Value::Object(secrets.collect::<Map<_, _>>()),
        "bindings": Value::Object(bindings.collect::<Map<_, _>>()),
    });
    Ok(Reply::json(200, &body))
}
