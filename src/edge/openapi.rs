//! `GET /openapi.json`: the contract as OpenAPI 3.1.
//!
//! What a person writes is in `openapi/*.json`: each route once, under its name. What the code knows is put in from the
//! code: aliases and methods from the route table, codes, statuses and their meaning from the one page of errors, and
//! the routes that are not built yet. Tests hold what is written against the code.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::reply::Reply;
use super::routes::{self, Action, Route};

#[cfg(test)]
mod tests;

const PARTS: &[&str] = &[
    include_str!("openapi/base.json"),
    include_str!("openapi/errors.json"),
    include_str!("openapi/ask.json"),
    include_str!("openapi/chat.json"),
    include_str!("openapi/audio.json"),
    include_str!("openapi/catalog.json"),
    include_str!("openapi/credits.json"),
    include_str!("openapi/ledger.json"),
    include_str!("openapi/limits.json"),
    include_str!("openapi/identity.json"),
    include_str!("openapi/operator.json"),
    include_str!("openapi/sockets.json"),
    include_str!("openapi/experiments.json"),
    include_str!("openapi/jobs.json"),
    include_str!("openapi/files.json"),
    include_str!("openapi/voice.json"),
];
/// The page of errors. A test holds it against the enum.
const ERRORS: &str = include_str!("../../ops/errors.md");
/// Codes that any request may get, whatever its route.
const ANYWHERE: &[&str] = &["uri_too_long", "headers_too_large", "unavailable"];
/// Statuses whose replies may say when to come back.
const RETRIED: &[u16] = &[409, 429, 503];

thread_local! {
    static DOCUMENT: OnceCell<String> = const { OnceCell::new() };
}

/// `GET /openapi.json`. Made once in an isolate.
pub fn serve() -> Reply {
    let text = DOCUMENT.with(|made| made.get_or_init(|| document().to_string()).clone());
    Reply::json_text(200, text)
}

/// One row of the page of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) status: u16,
    pub(super) code: &'static str,
    when: &'static str,
}

pub(super) fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        // Sockets end with codes from a thousand on: those are no replies.
        let status = cells.next()?.parse().ok().filter(|status| *status < 600)?;
        let code = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some(Row { status, code, when: cells.next().unwrap_or_default() })
    };
    ERRORS.lines().filter_map(row).collect()
}

/// Puts the members of `from` into `into`, objects within objects too.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

fn take(object: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    match object.remove(name) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// What the parts say beside the document itself.
struct Source {
    /// Who may call: the security requirements, the codes that go with them, and headers of every reply.
    callers: Map<String, Value>,
    rows: Vec<Row>,
}

/// The whole document.
pub(super) fn document() -> Value {
    let mut whole = Map::new();
    for part in PARTS {
        if let Ok(Value::Object(part)) = serde_json::from_str(part) {
            merge(&mut whole, part);
        }
    }
    let source = Source { callers: take(&mut whole, "x-callers"), rows: rows() };
    let fields = take(&mut whole, "x-error-fields");
    let written = take(&mut whole, "paths");
    let mut paths = Map::new();
    for route in routes::all() {
        for (at, path) in route.paths().iter().enumerate() {
            paths.insert(template(path), source.path_item(route, at, &written));
        }
    }
    whole.insert("paths".to_owned(), Value::Object(paths));
    let schemas = whole.get_mut("components").and_then(|all| all.get_mut("schemas"));
    if let Some(Value::Object(schemas)) = schemas {
        for row in &source.rows {
            schemas.insert(schema_name(row.code), error_schema(*row, fields.get(row.code)));
        }
    }
    Value::Object(whole)
}

/// `/api/keys/:id` as `/api/keys/{id}`.
fn template(path: &str) -> String {
    let segment = |segment: &str| match segment.strip_prefix(':') {
        Some(name) => format!("{{{name}}}"),
        None => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn schema_name(code: &str) -> String {
    format!("error.{code}")
}

/// An error object of one code, with the fields it has beside.
fn error_schema(row: Row, fields: Option<&Value>) -> Value {
    let mut properties = json!({ "error": { "const": row.code } });
    let mut required = vec![json!("error")];
    if let (Some(Value::Object(fields)), Some(properties)) = (fields, properties.as_object_mut()) {
        required.extend(fields.keys().map(|name| json!(name)));
        properties.extend(fields.clone());
    }
    json!({
        "description": row.when,
        "allOf": [
            { "$ref": "#/components/schemas/Error" },
            { "type": "object", "properties": properties, "required": required },
        ],
    })
}

fn text_of(operation: &Map<String, Value>, name: &str) -> String {
    operation.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn codes_in(value: Option<&Value>) -> BTreeSet<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Source {
    /// Everything of one path: its own operations, or those of the route whose alias it is.
    fn path_item(&self, route: &Route, alias: usize, written: &Map<String, Value>) -> Value {
        let name = route.name();
        let mut item = Map::new();
        for (method, action) in route.methods() {
            let method = method.to_ascii_lowercase();
            let operation = if *action == Action::NotImplemented {
                to_come(name, &method)
            } else {
                let of_route = written.get(&template(name)).and_then(|item| item.get(&method));
                let Some(Value::Object(operation)) = of_route else { continue };
                operation.clone()
            };
            let mut operation = self.completed(operation, name);
            if alias > 0 {
                let id = format!("{}_{}", text_of(&operation, "operationId"), alias.saturating_add(1));
                operation.insert("operationId".to_owned(), json!(id));
                let same = format!("The same as `{name}`.");
                operation.insert("description".to_owned(), json!(same));
            }
            item.insert(method, Value::Object(operation));
        }
        Value::Object(item)
    }

    /// Replaces what a person writes short by what OpenAPI wants: who may call, and an answer for each status.
    fn completed(&self, mut operation: Map<String, Value>, route: &str) -> Map<String, Value> {
        let caller = text_of(&operation, "x-caller");
        operation.remove("x-caller");
        let caller = self.callers.get(&caller).cloned().unwrap_or_default();
        let mut codes = codes_in(caller.get("errors"));
        codes.extend(codes_in(operation.remove("x-errors").as_ref()));
        codes.extend(ANYWHERE.iter().map(|code| (*code).to_owned()));
        let own = match caller.get("security") {
            Some(security) => security.clone(),
            None => json!([]),
        };
        operation.insert("security".to_owned(), own);
        let mut responses = take(&mut operation, "responses");
        for (status, rows) in self.by_status(&codes) {
            let refused = refusal(status, &rows, super::error::ErrorForm::of(route));
            let key = status.to_string();
            let answer = match responses.remove(&key) {
                Some(own) => either(own, &refused),
                None => refused,
            };
            responses.insert(key, answer);
        }
        let headers = caller.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
        for response in responses.values_mut().filter_map(Value::as_object_mut) {
            let mut all = headers.clone();
            all.insert("X-Request-Id".to_owned(), json!({ "$ref": "#/components/headers/X-Request-Id" }));
            merge(&mut all, take(response, "headers"));
            response.insert("headers".to_owned(), Value::Object(all));
        }
        operation.insert("responses".to_owned(), Value::Object(responses));
        operation
    }

    fn by_status(&self, codes: &BTreeSet<String>) -> BTreeMap<u16, Vec<Row>> {
        let mut found: BTreeMap<u16, Vec<Row>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| codes.contains(row.code)) {
            found.entry(row.status).or_default().push(*row);
        }
        found
    }
}

/// The answer of one status that only errors have.
fn refusal(status: u16, rows: &[Row], form: super::error::ErrorForm) -> Value {
    // What each means is in its schema.
    let said: Vec<String> = rows.iter().map(|row| format!("`{}`", row.code)).collect();
    let schema = match form {
        super::error::ErrorForm::OpenAi => {
            let codes: Vec<&str> = rows.iter().map(|row| row.code).collect();
            let code = json!({ "properties": { "code": { "enum": codes } } });
            json!({ "allOf": [
                { "$ref": "#/components/schemas/OpenAiError" },
                { "type": "object", "properties": { "error": code } },
            ] })
        }
        super::error::ErrorForm::Flat => any_of(rows.iter().map(|row| {
            let schema = format!("#/components/schemas/{}", schema_name(row.code));
            json!({ "$ref": schema })
        })),
    };
    let mut headers = Map::new();
    if RETRIED.contains(&status) {
        headers.insert("Retry-After".to_owned(), json!({ "$ref": "#/components/headers/Retry-After" }));
    }
    if status == 429 {
        for name in ["RateLimit", "RateLimit-Policy"] {
            let header = format!("#/components/headers/{name}");
            headers.insert(name.to_owned(), json!({ "$ref": header }));
        }
    }
    json!({
        "description": said.join(", "),
        "headers": headers,
        "content": { "application/json": { "schema": schema } },
    })
}

fn any_of(schemas: impl Iterator<Item = Value>) -> Value {
    let mut schemas: Vec<Value> = schemas.collect();
    if schemas.len() == 1 { schemas.pop().unwrap_or_default() } else { json!({ "anyOf": schemas }) }
}

/// One status that a route's own answer and an error share.
fn either(own: Value, refused: &Value) -> Value {
    const SCHEMA: &str = "/content/application~1json/schema";
    let mut both = own;
    let schemas = [both.pointer(SCHEMA), refused.pointer(SCHEMA)];
    let schemas = any_of(schemas.into_iter().flatten().cloned());
    if let Some(schema) = both.pointer_mut(SCHEMA) {
        *schema = schemas;
    }
    both
}

/// A route of the contract that answers 501 until it is built.
fn to_come(route: &str, method: &str) -> Map<String, Value> {
    let names: Vec<&str> = route.split('/').filter_map(|segment| segment.strip_prefix(':')).collect();
    let id: Vec<&str> = route.split(['/', ':', '-', '.']).filter(|word| !word.is_empty()).collect();
    let parameters = names
        .into_iter()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let mut operation = Map::new();
    for (name, value) in [
        ("operationId", json!(format!("{method}_{}", id.join("_")))),
        ("summary", json!("In the contract, and not built yet.")),
        ("tags", json!(["To come"])),
        ("parameters", Value::Array(parameters.collect())),
        ("x-caller", json!("anybody")),
        ("x-errors", json!(["not_implemented"])),
    ] {
        operation.insert(name.to_owned(), value);
    }
    operation
}
