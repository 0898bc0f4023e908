//! `GET /api/admin/providers`: how the providers do, as far as this isolate knows.

use serde_json::{Value, json};

use super::context::Context;
use super::error::ApiError;
use super::moment::iso_time;
use super::reply::Reply;
use crate::platform::now_ms;
use crate::providers::{self, Shown};

/// Each model of each provider: its breaker, and what came of the recent attempts.
pub fn overview(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let config = &context.config;
    let of_tiers = config.tiers.iter().flat_map(|tier| &tier.providers);
    let mut models: Vec<(&str, &str)> = Vec::new();
    for provider in config.providers.iter().chain(of_tiers).chain(&config.offers.embeddings) {
        for model in provider.models.iter() {
            // What it could be asked for is not worth a line before it was.
            let shown = *model == provider.model || providers::health(&provider.name, model).is_some();
            if shown && !models.contains(&(&provider.name, model)) {
                models.push((&provider.name, model));
            }
        }
    }
    let items: Vec<Value> = models.into_iter().map(|(provider, model)| item(provider, model)).collect();
    let body = json!({
        "ok": true,
        "at": iso_time(now_ms()),
        // Another isolate of this deployment may have seen other things.
        "scope": "isolate",
        "window_ms": providers::WINDOW_MS,
        "items": items,
    });
    Ok(Reply::json(200, &body))
}

fn item(provider: &str, model: &str) -> Value {
    let health = providers::health(provider, model);
    let (state, open_until_ms) = match health.as_ref().map(|health| health.shown) {
        None | Some(Shown::Closed) => ("closed", None),
        Some(Shown::Open { until_ms }) => ("open", Some(until_ms)),
        Some(Shown::HalfOpen) => ("half_open", None),
    };
    let since_ms = health.as_ref().map(|health| health.since_ms);
    let flagged = health.as_ref().map(|health| health.flagged).unwrap_or_default();
    let summary = health.map(|health| health.summary).unwrap_or_default();
    #[allow(clippy::cast_precision_loss)]
    let error_rate = (summary.judged > 0).then(|| summary.faults as f64 / summary.judged as f64);
    json!({
        "provider": provider,
        "model": model,
        "state": state,
        "open_until": open_until_ms.map(iso_time),
        "since": since_ms.map(iso_time),
        "attempts": summary.attempts,
        "failures": summary.failures,
        "error_rate": error_rate,
        "usage_flags": { "absurd": flagged.absurd, "inflated": flagged.inflated },
        "latency_ms": { "p50": summary.p50_ms, "p95": summary.p95_ms },
    })
}
