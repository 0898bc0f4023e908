//! Which models can be asked for by name, and who serves them. `GET /v1/models` lists them.

use serde_json::{Value, json};

use super::context::Context;
use super::error::ApiError;
use super::limits::MODEL_BYTES_MAX;
use super::reply::Reply;
use crate::platform::config::{Config, Provider};
use crate::providers::Members;

/// The name that takes each provider's own model, in the usual order.
pub const AUTO: &str = "auto";

/// The model that a body names.
///
/// # Errors
/// `InvalidField`.
pub fn named(members: &Members) -> Result<String, ApiError> {
    match members.value("model") {
        Some(Value::String(model)) if (1..=MODEL_BYTES_MAX).contains(&model.len()) => Ok(model),
        _ => {
            let expected = "the name of a model of GET /v1/models, or `auto`";
            Err(ApiError::InvalidField { field: "model", expected })
        }
    }
}

/// Those of `providers` that serve `model`, with it. `provider/model` names both.
///
/// # Errors
/// `UnknownModel` when nobody does.
pub fn serving(providers: &[Provider], model: &str) -> Result<Vec<Provider>, ApiError> {
    if model == AUTO {
        return Ok(providers.to_vec());
    }
    let of = |named: Option<&str>, model: &str| -> Vec<Provider> {
        let named = providers.iter().filter(|provider| named.is_none_or(|name| *provider.name == *name));
        let serving = named.filter(|provider| provider.models.iter().any(|served| served == model));
        serving.map(|provider| provider.with_model(model)).collect()
    };
    let mut found = of(None, model);
    if let (true, Some((name, model))) = (found.is_empty(), model.split_once('/')) {
        found = of(Some(name), model);
    }
    if found.is_empty() { Err(ApiError::UnknownModel) } else { Ok(found) }
}

/// Every model that can be asked for, each once, with the first who serves it.
fn all(config: &Config) -> Vec<(&str, &str)> {
    let tiers = config.tiers.iter().flat_map(|tier| &tier.providers);
    let mut models: Vec<(&str, &str)> = vec![(AUTO, "cognomega")];
    for provider in config.providers.iter().chain(tiers).chain(config.offers.all()) {
        for model in provider.models.iter() {
            if models.iter().all(|(known, _)| known != model) {
                models.push((model, &provider.name));
            }
        }
    }
    models
}

/// When the first of them could be asked for, in seconds since 1970. Clients want a number; nobody knows a truer one.
const CREATED_S: i64 = 1_767_225_600;

fn object(model: &str, owner: &str) -> Value {
    json!({ "id": model, "object": "model", "created": CREATED_S, "owned_by": owner })
}

/// `GET /v1/models`, for any caller that is known.
pub async fn list(context: &Context) -> Result<Reply, ApiError> {
    context.caller().await?;
    let models: Vec<Value> =
        all(&context.config).into_iter().map(|(model, owner)| object(model, owner)).collect();
    Ok(Reply::json(200, &json!({ "object": "list", "data": models })))
}

/// `GET /v1/models/:id`. A name with a `/` in it comes percent-encoded.
pub async fn show(context: &Context) -> Result<Reply, ApiError> {
    context.caller().await?;
    let asked = context.inbound.last_segment().ok_or(ApiError::UnknownModel)?;
    let models = all(&context.config);
    let found = models.into_iter().find(|(model, _)| model.eq_ignore_ascii_case(&asked));
    let (model, owner) = found.ok_or(ApiError::UnknownModel)?;
    Ok(Reply::json(200, &object(model, owner)))
}
