//! Skills: what an operator stores and edits, and what everybody may know of them.

use std::rc::Rc;

use actors::catalog::{
    Command, GENERAL, OnClientSystem, Reply as CatalogReply, SkillPrice, SkillTerms, StoredSkill,
    is_skill_name,
};
use actors::shared::ModelPrice;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::catalog;
use super::context::{Context, unexpected};
use super::error::ApiError;
use super::json_body;
use super::limits::{JSON_BODY_BYTES_MAX, SEQUENCE_MAX};
use super::prices::{change, note_object};
use super::reply::Reply;

/// `GET /api/skills`: what can be asked for. Prompts and prices are the operator's.
pub async fn list_for_all(context: &Rc<Context>) -> Result<Reply, ApiError> {
    context.caller().await?;
    let known = catalog::current(context).await;
    let item = |skill: &catalog::Skill| json!({ "name": skill.name, "version": skill.version, "description": skill.terms.description });
    let items: Vec<Value> = known.enabled().into_iter().map(item).collect();
    Ok(Reply::json(200, &json!({ "items": items })))
}

/// `GET /api/admin/skills`: the current version of each, without its prompt.
pub async fn list(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let CatalogReply::Skills(skills) = catalog::ask(context, &Command::ListSkills).await? else {
        return Err(unexpected());
    };
    let is_general_stored = skills.iter().any(|skill| skill.name == GENERAL);
    let built_in = (!is_general_stored).then(|| terms_object(GENERAL, 0, &SkillTerms::built_in()));
    let stored = skills.iter().filter_map(|skill| {
        skill.terms.as_ref().map(|terms| terms_object(&skill.name, skill.note.version, terms))
    });
    let items: Vec<Value> = built_in
        .into_iter()
        .chain(stored)
        .map(|mut item| {
            item.remove("system");
            Value::Object(item)
        })
        .collect();
    Ok(Reply::json(200, &json!({ "items": items })))
}

/// `GET /api/admin/skills/:name`: the current version and the list of all; with `?version=` one of them.
pub async fn show(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let (name, query) = (name(context)?, &context.inbound.query);
    if let Some(version) = query.get("version") {
        let version = version_of(&json!(version))?;
        if version == 0 && name == GENERAL {
            return Ok(Reply::json(200, &Value::Object(built_in())));
        }
        let command = Command::Skill { name, version: Some(version) };
        let CatalogReply::Skill(stored) = catalog::ask(context, &command).await? else {
            return Err(unexpected());
        };
        return Ok(Reply::json(200, &Value::Object(stored_object(&stored))));
    }
    let is_general = name == GENERAL;
    let command = Command::ListSkillVersions { name, limit: query.limit(), cursor: query.get("cursor") };
    let page = match catalog::ask(context, &command).await {
        Ok(CatalogReply::SkillPage(page)) => page,
        Ok(_) => return Err(unexpected()),
        // Nobody ever stored it, and it is there all the same.
        Err(ApiError::NotFound) if is_general => {
            let mut shown = built_in();
            shown.insert("versions".to_owned(), json!([]));
            shown.insert("next_cursor".to_owned(), Value::Null);
            return Ok(Reply::json(200, &Value::Object(shown)));
        }
        Err(error) => return Err(error),
    };
    let mut shown = stored_object(&page.current);
    if is_general && page.current.terms.is_none() {
        shown.extend(built_in());
    }
    let versions = page.items.iter().map(|note| {
        let mut item = note_object(note);
        item.insert("deleted".to_owned(), json!(note.is_gone));
        Value::Object(item)
    });
    shown.insert("versions".to_owned(), versions.collect());
    shown.insert("next_cursor".to_owned(), json!(page.next_cursor));
    Ok(Reply::json(200, &Value::Object(shown)))
}

/// A skill as an operator writes it. What is not said is as if it had never been set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    expected_version: Option<Value>,
    reason: Option<Value>,
    system: String,
    description: Option<String>,
    on_client_system: Option<OnClientSystem>,
    models: Option<Vec<String>>,
    providers: Option<Vec<String>>,
    price: Option<Value>,
    price_multiplier: Option<f64>,
    max_tokens: Option<u32>,
    input_bytes_max: Option<u32>,
    enabled: Option<bool>,
}

/// What a body that is none of these is told.
const BODY: &str = "`system` and `reason`, and any of `expected_version`, `description`, `on_client_system` of \
    `replace` or `append`, `models`, `providers`, `price` or `price_multiplier`, `max_tokens`, `input_bytes_max` and \
    `enabled`";

/// `PUT /api/admin/skills/:name`: a new version.
pub async fn set(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let name = name(context)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let value: Value = json_body::parse(&bytes)?;
    let body = Body::deserialize(&value).map_err(|_| ApiError::invalid_setting("skill", BODY))?;
    let change = change(context, body.expected_version.as_ref(), body.reason.as_ref())?;
    let terms = Box::new(terms(body)?);
    done(context, Command::PutSkill { name, terms, change }).await
}

/// `DELETE /api/admin/skills/:name?reason=`: nothing of that name is there from now on; its versions stay.
pub async fn delete(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let query = &context.inbound.query;
    let said = |name: &str| query.get(name).map(Value::String);
    let change = change(context, said("expected_version").as_ref(), said("reason").as_ref())?;
    done(context, Command::DeleteSkill { name: name(context)?, change }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBackBody {
    version: Value,
    expected_version: Option<Value>,
    reason: Option<Value>,
}

/// `POST /api/admin/skills/:name/rollback`: a new version that says what an old one did.
pub async fn roll_back(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let name = name(context)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let value: Value = json_body::parse(&bytes)?;
    let expected = "the number of an old version, `reason`, and `expected_version` where it matters";
    let wrong = |_| ApiError::invalid_setting("version", expected);
    let body = RollBackBody::deserialize(&value).map_err(wrong)?;
    let change = change(context, body.expected_version.as_ref(), body.reason.as_ref())?;
    let version = version_of(&body.version)?;
    done(context, Command::RollBackSkill { name, version, change }).await
}

async fn done(context: &Context, command: Command) -> Result<Reply, ApiError> {
    let CatalogReply::Skill(stored) = catalog::change(context, &command).await? else {
        return Err(unexpected());
    };
    Ok(Reply::json(200, &Value::Object(stored_object(&stored))))
}

/// The name in the path.
fn name(context: &Context) -> Result<String, ApiError> {
    let name = context.inbound.path.strip_prefix("/api/admin/skills/").unwrap_or_default();
    let name = name.strip_suffix("/rollback").unwrap_or(name);
    if is_skill_name(name) { Ok(name.to_owned()) } else { Err(ApiError::NotFound) }
}

fn version_of(value: &Value) -> Result<i64, ApiError> {
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let number = number.filter(|number| (0..=SEQUENCE_MAX).contains(number));
    number.ok_or_else(|| ApiError::invalid_setting("version", "the number of a version"))
}

fn terms(body: Body) -> Result<SkillTerms, ApiError> {
    let price = match (&body.price, body.price_multiplier) {
        (None | Some(Value::Null), None) => None,
        (None | Some(Value::Null), Some(multiplier)) => {
            let price = SkillPrice::from_multiplier(multiplier);
            let expected = "a number from 0 to 100, in steps of 0.001";
            Some(price.ok_or_else(|| ApiError::invalid_setting("price_multiplier", expected))?)
        }
        (Some(price), None) => {
            let price = ModelPrice::from_json(price);
            Some(SkillPrice::Fixed(price.map_err(|expected| ApiError::invalid_setting("price", &expected))?))
        }
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid_setting("price", "a price or a multiplier, not both"));
        }
    };
    Ok(SkillTerms {
        description: body.description.unwrap_or_default(),
        system: body.system,
        on_client_system: body.on_client_system.unwrap_or_default(),
        models: body.models.unwrap_or_default(),
        providers: body.providers.unwrap_or_default(),
        price,
        max_tokens: body.max_tokens,
        input_bytes_max: body.input_bytes_max,
        enabled: body.enabled.unwrap_or(true),
    })
}

fn built_in() -> Map<String, Value> {
    terms_object(GENERAL, 0, &SkillTerms::built_in())
}

fn stored_object(stored: &StoredSkill) -> Map<String, Value> {
    let mut shown = match &stored.terms {
        Some(terms) => terms_object(&stored.name, stored.note.version, terms),
        None => Map::from_iter([("name".to_owned(), json!(stored.name))]),
    };
    shown.extend(note_object(&stored.note));
    shown.insert("deleted".to_owned(), json!(stored.terms.is_none()));
    shown
}

/// As an operator writes it, so that it can be sent back changed.
fn terms_object(name: &str, version: i64, terms: &SkillTerms) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("name", json!(name));
    put("version", json!(version));
    put("description", json!(terms.description));
    put("system", json!(terms.system));
    put("on_client_system", json!(terms.on_client_system));
    put("models", json!(terms.models));
    put("providers", json!(terms.providers));
    put("max_tokens", json!(terms.max_tokens));
    put("input_bytes_max", json!(terms.input_bytes_max));
    put("enabled", json!(terms.enabled));
    if let Some(price) = terms.price {
        let (name, value) = price.to_json();
        put(name, value);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<SkillTerms, ApiError> {
        Body::deserialize(&body).map_err(|_| ApiError::invalid_setting("skill", BODY)).and_then(terms)
    }

    #[test]
    fn terms_are_shown_as_they_are_written() {
        for body in [
            json!({"system": "x"}),
            json!({"system": "", "description": "d", "on_client_system": "append", "models": ["m"],
                   "providers": ["local"], "price_multiplier": 1.5, "max_tokens": 7, "input_bytes_max": 9,
                   "enabled": false}),
            json!({"system": "x", "price": {"input": 0.1, "output": 0.4}}),
            json!({"system": "x", "price": 0.25, "max_tokens": null, "input_bytes_max": null}),
        ] {
            let terms = read(body.clone()).unwrap();
            let mut shown = terms_object("s", 3, &terms);
            shown.remove("name");
            shown.remove("version");
            for (name, value) in body.as_object().unwrap() {
                assert_eq!(&shown[name], value, "{name}");
            }
            assert_eq!(read(Value::Object(shown)), Ok(terms));
        }
    }

    #[test]
    fn a_skill_that_is_none_says_which_field() {
        for (body, expected) in [
            (json!({}), "skill"),
            (json!({"system": 7}), "skill"),
            (json!({"system": "x", "prompt": "y"}), "skill"),
            (json!({"system": "x", "on_client_system": "ignore"}), "skill"),
            (json!({"system": "x", "price": 1, "price_multiplier": 1}), "price"),
            (json!({"system": "x", "price": -1}), "price"),
            (json!({"system": "x", "price_multiplier": 101}), "price_multiplier"),
        ] {
            match read(body.clone()) {
                Err(ApiError::InvalidSetting { field, .. }) => assert_eq!(field, expected, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }
}
