//! `/api/admin/prices`: what models cost, as an operator sees and edits it at run time.

use actors::catalog::{
    Change, Command, ConfiguredPrices, PriceVersion, Reply as CatalogReply, StoredPrices, VersionNote,
};
use actors::shared::PriceTable;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::catalog;
use super::context::{Context, unexpected};
use super::error::ApiError;
use super::json_body;
use super::limits::{JSON_BODY_BYTES_MAX, SEQUENCE_MAX};
use super::moment::iso_time;
use super::reply::Reply;

/// `GET`: the current table and the versions there were; with `?version=` one of them. Version 0 is what the
/// configuration says; as usage rows name it, `0-<digest>`, also what it said once.
pub async fn show(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let query = &context.inbound.query;
    let configured = catalog::configured(&context.config);
    if let Some(version) = query.get("version") {
        if version == "0" || version == configured.version.to_string() {
            return Ok(Reply::json(200, &Value::Object(configured_object(&configured))));
        }
        let version: PriceVersion = version.parse().map_err(|_| ApiError::NotFound)?;
        let CatalogReply::Prices(stored) =
            catalog::ask(context, &Command::Prices { version: version.clone() }).await?
        else {
            return Err(unexpected());
        };
        return Ok(Reply::json(200, &Value::Object(stored_object(&stored, &version))));
    }
    let command = Command::ListPrices { limit: query.limit(), cursor: query.get("cursor") };
    let CatalogReply::PricesPage(page) = catalog::ask(context, &command).await? else {
        return Err(unexpected());
    };
    let mut shown = match &page.current {
        Some(stored) => stored_object(stored, &PriceVersion::Stored(stored.note.version)),
        None => configured_object(&configured),
    };
    shown.insert(
        "versions".to_owned(),
        page.items.iter().map(|note| Value::Object(note_object(note))).collect(),
    );
    shown.insert("next_cursor".to_owned(), json!(page.next_cursor));
    Ok(Reply::json(200, &Value::Object(shown)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    expected_version: Option<Value>,
    prices: Value,
    reason: Value,
}

/// `PUT`: a new version, which every isolate charges by within `CATALOG_TTL_MS`, and this one from now on.
pub async fn set(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let value: Value = json_body::parse(&bytes)?;
    let expected = "`prices`, `reason`, and `expected_version` where it matters";
    let body = Body::deserialize(&value).map_err(|_| ApiError::invalid_setting("prices", expected))?;
    let prices = PriceTable::from_json(&body.prices)
        .map_err(|expected| ApiError::invalid_setting("prices", &expected))?;
    let change = change(context, body.expected_version.as_ref(), Some(&body.reason))?;
    let command = Command::PutPrices { prices, change };
    let CatalogReply::Prices(stored) = catalog::change(context, &command).await? else {
        return Err(unexpected());
    };
    let version = PriceVersion::Stored(stored.note.version);
    Ok(Reply::json(200, &Value::Object(stored_object(&stored, &version))))
}

/// Who changes the catalog, why, and from which version on.
///
/// # Errors
/// `InvalidSetting`; `Unauthorized`.
pub fn change(
    context: &Context,
    expected_version: Option<&Value>,
    reason: Option<&Value>,
) -> Result<Change, ApiError> {
    let expected_version = match expected_version {
        None | Some(Value::Null) => None,
        Some(version) => {
            let number = version.as_i64().or_else(|| version.as_str()?.parse().ok());
            let number = number.filter(|number| (0..=SEQUENCE_MAX).contains(number));
            let wrong = || ApiError::invalid_setting("expected_version", "the number of a version");
            Some(number.ok_or_else(wrong)?)
        }
    };
    let reason = reason.and_then(Value::as_str);
    let reason = reason.ok_or_else(|| ApiError::invalid_setting("reason", "a text that says why"))?;
    let by = context.admin_key().slot().ok_or(ApiError::Unauthorized)?;
    Ok(Change { expected_version, by: by.name().to_owned(), reason: reason.to_owned() })
}

/// Who made a version, when and why.
pub fn note_object(note: &VersionNote) -> Map<String, Value> {
    let fields = [
        ("version", json!(note.version)),
        ("created_at", json!(iso_time(note.at_ms))),
        ("changed_by", json!(note.changed_by)),
        ("reason", json!(note.reason)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn configured_object(configured: &ConfiguredPrices) -> Map<String, Value> {
    let mut shown = prices_object(0, &configured.version, &configured.prices);
    shown.insert("source".to_owned(), json!("configuration"));
    shown
}

/// One version; of what a configuration said, when that was first seen.
fn stored_object(stored: &StoredPrices, version: &PriceVersion) -> Map<String, Value> {
    let mut shown = prices_object(stored.note.version, version, &stored.prices);
    let is_configured = stored.note.version == 0;
    shown.insert("source".to_owned(), json!(if is_configured { "configuration" } else { "stored" }));
    shown.insert("created_at".to_owned(), json!(iso_time(stored.note.at_ms)));
    if !is_configured {
        shown.insert("changed_by".to_owned(), json!(stored.note.changed_by));
        shown.insert("reason".to_owned(), json!(stored.note.reason));
    }
    shown
}

fn prices_object(number: i64, version: &PriceVersion, prices: &PriceTable) -> Map<String, Value> {
    let fields =
        [("version", json!(number)), ("price_version", json!(version)), ("prices", prices.to_json())];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
