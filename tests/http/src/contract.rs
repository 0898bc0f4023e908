//! Holds every reply of every test against `/openapi.json`, as the Worker under test serves it: what it answers must be
//! in the document, with its status, its headers and its schema. So whatever the tests reach keeps the document true.

use crate::client::{Reply, Target};
use jsonschema::Validator;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Where the document is.
const PATH: &str = "/openapi.json";
/// A Worker that takes longer is gone: some tests kill it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// The method that the table of routes knows nothing of: it is answered alike everywhere.
const PREFLIGHT: &str = "OPTIONS";

/// The document of the Worker under test, one for all stacks of a test run: they serve the same bundle.
static DOCUMENT: OnceCell<Contract> = OnceCell::const_new();

/// The document, ready to judge.
pub struct Contract {
    document: Value,
    /// Schemas that were used, by where they stand in the document.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// What a reply is judged as.
struct Answer<'a> {
    method: &'a Method,
    path: &'a str,
    status: u16,
    headers: &'a HeaderMap,
}

/// Panics when `reply` is not what the document says of such a request. Nothing is said where the Worker is gone.
pub async fn check(method: &Method, path: &str, reply: &Reply, target: &Target) {
    let Some(contract) = of(target).await else { return };
    let answer = Answer { method, path, status: reply.status, headers: &reply.headers };
    if let Err(wrong) = contract.judge(&answer, Some(&reply.body)) {
        panic!("{method} {path} is not as {PATH} says: {wrong}\n{reply:?}");
    }
}

/// The part of it that does not need the body, for replies that are still coming.
pub async fn check_head(method: &Method, path: &str, status: u16, headers: &HeaderMap, target: &Target) {
    let Some(contract) = of(target).await else { return };
    let answer = Answer { method, path, status, headers };
    if let Err(wrong) = contract.judge(&answer, None) {
        panic!("{method} {path} is not as {PATH} says: {wrong}\n{headers:?}");
    }
}

/// The document, fetched once. Of the product alone: another bundle under test has none.
async fn of(target: &Target) -> Option<&'static Contract> {
    if !target.documented {
        return None;
    }
    DOCUMENT.get_or_try_init(|| fetched(&target.url)).await.ok()
}

async fn fetched(url: &str) -> Result<Contract, reqwest::Error> {
    let http = reqwest::Client::builder().timeout(FETCH_TIMEOUT).build()?;
    let document = http.get(format!("{url}{PATH}")).send().await?.error_for_status()?.json().await?;
    Ok(Contract::new(document))
}

impl Contract {
    pub fn new(document: Value) -> Self {
        Self { document, validators: Mutex::default() }
    }

    fn judge(&self, answer: &Answer<'_>, body: Option<&[u8]>) -> Result<(), String> {
        let path = answer.path.split(['?', '#']).next().unwrap_or_default().to_lowercase();
        let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(&path) } else { &path };
        let Some((template, item)) = self.item(path) else {
            let expected = if answer.method == PREFLIGHT { 204 } else { 404 };
            return expect(answer.status == expected, || format!("no such path, so not {}", answer.status));
        };
        let asked = if answer.method == Method::HEAD { "get" } else { answer.method.as_str() };
        let asked = asked.to_lowercase();
        if !item.contains_key(&asked) {
            let expected = if answer.method == PREFLIGHT { 204 } else { 405 };
            // An address that is too long is refused before it is looked up.
            return expect(matches!(answer.status, s if s == expected || s == 404), || {
                format!("{template} has no {asked}, so not {}", answer.status)
            });
        }
        let at = format!("/paths/{}/{asked}/responses/{}", escaped(template), answer.status);
        let Some(response) = self.document.pointer(&at) else {
            return Err(format!("{template} has no answer {}", answer.status));
        };
        self.headers(&at, response, answer.headers)?;
        self.content(&at, response, answer, body)
    }

    /// The path's template and operations: a plain path before one with parameters.
    fn item(&self, path: &str) -> Option<(&str, &Map<String, Value>)> {
        let items = self.document.get("paths")?.as_object()?;
        let plain = items.get_key_value(path).filter(|(template, _)| !template.contains('{'));
        let found = plain.or_else(|| items.iter().find(|(template, _)| fits(template, path)));
        found.and_then(|(template, item)| Some((template.as_str(), item.as_object()?)))
    }

    fn headers(&self, at: &str, response: &Value, sent: &HeaderMap) -> Result<(), String> {
        let described = response.get("headers").and_then(Value::as_object);
        for (name, header) in described.into_iter().flatten() {
            let header = self.resolved(header);
            let Some(value) = sent.get(name).and_then(|value| value.to_str().ok()) else {
                let required = header.get("required") == Some(&json!(true));
                expect(!required, || format!("no header {name}"))?;
                continue;
            };
            let schema = header.get("schema").cloned().unwrap_or(json!(true));
            let number = schema.get("type") == Some(&json!("integer"));
            let value =
                if number { serde_json::from_str(value).unwrap_or(json!(value)) } else { json!(value) };
            self.fits_schema(&format!("{at}/headers/{name}"), &schema, &value)?;
        }
        Ok(())
    }

    fn content(
        &self,
        at: &str,
        response: &Value,
        answer: &Answer<'_>,
        body: Option<&[u8]>,
    ) -> Result<(), String> {
        let media =
            answer.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        // An answer whose body is no document's affair: a socket that was opened.
        if media.is_empty() && response.get("content").is_none() {
            return Ok(());
        }
        let Some(content) = response.get("content").and_then(|all| all.get(media)) else {
            return Err(format!("no content {media:?}"));
        };
        let Some(body) = body.filter(|_| media == "application/json" && answer.method != Method::HEAD) else {
            return Ok(());
        };
        let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let schema = content.get("schema").cloned().unwrap_or(json!(true));
        self.fits_schema(at, &schema, &body)
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let name = value.get("$ref").and_then(Value::as_str);
        name.and_then(|name| self.document.pointer(name.trim_start_matches('#'))).unwrap_or(value)
    }

    fn fits_schema(&self, at: &str, schema: &Value, value: &Value) -> Result<(), String> {
        let validator = self.validator(at, schema);
        let wrong: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        expect(wrong.is_empty(), || wrong.join("; "))
    }

    fn validator(&self, at: &str, schema: &Value) -> Arc<Validator> {
        let mut known = self.validators.lock().expect("the validators");
        let made = || {
            let components = self.document.get("components").cloned().unwrap_or_default();
            let whole = json!({ "allOf": [schema], "components": components });
            let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
            Arc::new(options.should_validate_formats(true).build(&whole).expect("a schema"))
        };
        Arc::clone(known.entry(at.to_owned()).or_insert_with(made))
    }
}

/// A path as one token of a JSON pointer.
fn escaped(path: &str) -> String {
    path.replace('~', "~0").replace('/', "~1")
}

fn fits(template: &str, path: &str) -> bool {
    let (wanted, given) = (template.split('/').collect::<Vec<_>>(), path.split('/').collect::<Vec<_>>());
    wanted.len() == given.len()
        && wanted
            .iter()
            .zip(&given)
            .all(|(name, segment)| if name.starts_with('{') { !segment.is_empty() } else { name == segment })
}

fn expect(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        let schema =
            json!({ "type": "object", "required": ["ok"], "properties": { "ok": { "const": true } } });
        let good = json!({
            "description": "",
            "headers": { "X-Count": { "required": true, "schema": { "type": "integer" } } },
            "content": { "application/json": { "schema": schema } },
        });
        let item = json!({ "get": { "responses": { "200": good } } });
        Contract::new(json!({ "paths": { "/things": item, "/things/{id}": item } }))
    }

    fn judge(
        method: Method,
        path: &str,
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> Result<(), String> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect();
        let answer = Answer { method: &method, path, status, headers: &headers };
        contract().judge(&answer, Some(body.as_bytes()))
    }

    const GOOD: &[(&str, &str)] = &[("content-type", "application/json; charset=utf-8"), ("x-count", "3")];

    #[test]
    fn what_is_described_passes() {
        for path in ["/things", "/THINGS/", "/things/a-1?x=1"] {
            assert_eq!(judge(Method::GET, path, 200, GOOD, r#"{"ok":true}"#), Ok(()), "{path}");
        }
        assert_eq!(judge(Method::POST, "/things", 405, &[], ""), Ok(()));
        assert_eq!(judge(Method::OPTIONS, "/things", 204, &[], ""), Ok(()));
        assert_eq!(judge(Method::GET, "/nothing", 404, &[], ""), Ok(()));
    }

    #[test]
    fn what_is_not_described_fails() {
        let count = &[("content-type", "application/json"), ("x-count", "three")];
        let none = &[("content-type", "application/json")];
        let media = &[("content-type", "text/plain"), ("x-count", "3")];
        for (path, status, headers, body) in [
            ("/things", 201, GOOD, r#"{"ok":true}"#),
            ("/things", 200, GOOD, r#"{"ok":false}"#),
            ("/things", 200, GOOD, "{}"),
            ("/things", 200, count, r#"{"ok":true}"#),
            ("/things", 200, none, r#"{"ok":true}"#),
            ("/things", 200, media, r#"{"ok":true}"#),
            ("/things/a/b", 200, GOOD, r#"{"ok":true}"#),
        ] {
            assert!(
                judge(Method::GET, path, status, headers, body).is_err(),
                "{path} {status} {headers:?} {body}"
            );
        }
        assert!(judge(Method::POST, "/things", 200, GOOD, r#"{"ok":true}"#).is_err());
    }
}
