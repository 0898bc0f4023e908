//! Alive, and ready: the second says what is configured, and what is wrong with it, without any secret.

use serde_json::{Value, json};

use super::context::Context;
use super::moment::iso_time;
use super::reply::Reply;
use crate::platform::config::{self, Environment, IdentityMode};
use crate::platform::now_ms;

/// Bindings without which a request would fail.
const NEEDED: &[&str] = &["TENANT", "ADDRESS", "CATALOG", "KEYS"];

/// `GET /healthz`.
pub fn healthy() -> Reply {
    Reply::json(200, &json!({ "ok": true, "when": iso_time(now_ms()) }))
}

/// `GET /ready`: 200 when every configured part can serve, else 503 and which cannot.
pub fn ready(context: &Context) -> Reply {
    let config = &context.config;
    let mut problems: Vec<Value> = config
        .problems
        .iter()
        .map(|problem| json!({ "variable": problem.variable, "cure": problem.cure }))
        .collect();
    if let Err(problem) = &config.signing {
        problems.push(json!({ "variable": "PRIVATE_KEY_PEM", "cure": problem.cure() }));
    }
    for name in NEEDED.iter().filter(|name| !config::has_binding(&context.env, name)) {
        problems.push(json!({ "variable": name, "cure": "bind it in wrangler.toml" }));
    }
    if config.providers.is_empty() {
        problems.push(json!({
            "variable": "PREFERRED_PROVIDER",
            "cure": "give at least one listed provider what it lacks; `skipped` says what that is",
        }));
    }
    let first = config.providers.first();
    let skipped: Vec<Value> =
        config.skipped_providers.iter().map(|(name, why)| json!({ "provider": name, "why": why })).collect();
    let ok = problems.is_empty();
    let body = json!({
        "ok": ok,
        "provider": first.map(|provider| &*provider.name),
        "model": first.map(|provider| provider.model.as_str()),
        "providers": config.providers.iter().map(|provider| &*provider.name).collect::<Vec<_>>(),
        "skipped": skipped,
        // What new tokens are signed by: during a rotation, which of the two it is.
        "kid": config.signing.is_ok().then_some(config.kid.as_str()),
        "environment": match config.environment {
            Environment::Development => "development",
            Environment::Production => "production",
        },
        "identity_mode": match config.identity_mode {
            IdentityMode::Verified => "verified",
            IdentityMode::Asserted => "asserted",
        },
        "problems": problems,
    });
    Reply::json(if ok { 200 } else { 503 }, &body)
}
