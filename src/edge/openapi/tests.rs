//! Holds the document against the code: the route table, the enum of errors, and the standard itself.

use std::collections::{BTreeMap, BTreeSet};

use roas::v3_1::spec::Spec;
use roas::validation::{Options, Validate};

use super::super::error_page;
use super::super::routes::Match;
use super::*;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Method, path and operation of all.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{path}: {method}");
            all.push((method.to_ascii_uppercase(), path.clone(), operation.clone()));
        }
    }
    all
}

/// Codes that a response's schema names.
fn codes_of(document: &Value, schema: &Value) -> BTreeSet<String> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let found = document.pointer(name.trim_start_matches('#')).unwrap_or(&Value::Null);
        return codes_of(document, found);
    }
    let mut codes = BTreeSet::new();
    codes.extend(schema.pointer("/properties/error/const").and_then(Value::as_str).map(str::to_owned));
    let openai = schema.pointer("/properties/error/properties/code/enum").and_then(Value::as_array);
    codes.extend(openai.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    for list in ["anyOf", "allOf"] {
        for inner in schema.get(list).and_then(Value::as_array).into_iter().flatten() {
            codes.extend(codes_of(document, inner));
        }
    }
    codes
}

/// Every code an operation may give, with its status.
fn refusals(document: &Value, operation: &Value) -> BTreeSet<(String, u16)> {
    let mut all = BTreeSet::new();
    for (status, response) in operation["responses"].as_object().unwrap() {
        let schema = response.pointer("/content/application~1json/schema").unwrap_or(&Value::Null);
        let status: u16 = status.parse().unwrap();
        all.extend(codes_of(document, schema).into_iter().map(|code| (code, status)));
    }
    all
}

#[test]
fn every_route_and_method_is_there_and_nothing_else() {
    let document = document();
    let described: BTreeSet<(String, String)> =
        operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    let mut served = BTreeSet::new();
    for route in routes::all() {
        for path in route.paths() {
            served.extend(route.methods().iter().map(|(method, _)| ((*method).to_owned(), template(path))));
        }
    }
    assert_eq!(described, served);
    // And the router itself finds what is described.
    for (method, path) in described {
        let concrete = path.replace(['{', '}'], "");
        assert!(matches!(routes::find(&method, &concrete), Match::Found(..)), "{method} {path}");
    }
}

#[test]
fn what_a_person_wrote_is_of_a_route_that_is_built() {
    for part in PARTS {
        let part: Value = serde_json::from_str(part).unwrap();
        for (path, item) in part["paths"].as_object().into_iter().flatten() {
            let route = routes::all().find(|route| template(route.name()) == *path);
            let route = route.unwrap_or_else(|| panic!("{path} is the name of no route"));
            for method in item.as_object().unwrap().keys() {
                let built = route.methods().iter().any(|(known, action)| {
                    known.eq_ignore_ascii_case(method) && *action != Action::NotImplemented
                });
                assert!(built, "{method} {path} is not built");
            }
        }
    }
}

#[test]
fn no_short_form_is_left_and_every_operation_says_what_it_is() {
    let document = document();
    assert!(!document.to_string().contains("\"x-"), "a short form was not completed");
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        for member in ["operationId", "summary", "tags"] {
            assert!(operation.get(member).is_some(), "{method} {path}: no {member}");
        }
        assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}: its id is taken");
        let answers = operation["responses"].as_object().unwrap();
        for (status, answer) in answers {
            assert!(answer.get("description").is_some(), "{method} {path} {status}");
            assert!(answer.pointer("/headers/X-Request-Id").is_some(), "{method} {path} {status}");
        }
    }
    // Whoever writes a caller or a code that is none gets no answer for it.
    for part in PARTS {
        let part: Value = serde_json::from_str(part).unwrap();
        let callers = document_callers();
        for operation in part["paths"]
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(_, item)| item.as_object().unwrap().values())
        {
            let caller = operation["x-caller"].as_str().unwrap_or_default();
            assert!(callers.contains_key(caller), "{caller:?} is no caller: {}", operation["operationId"]);
            for code in codes_in(operation.get("x-errors")) {
                assert!(rows().iter().any(|row| row.code == code), "{code} is no code");
            }
        }
    }
}

fn document_callers() -> Map<String, Value> {
    let base: Value = serde_json::from_str(PARTS[0]).unwrap();
    let callers = base["x-callers"].as_object().unwrap().clone();
    for caller in callers.values() {
        for code in codes_in(caller.get("errors")) {
            assert!(rows().iter().any(|row| row.code == code), "{code} is no code");
        }
    }
    callers
}

#[test]
fn every_code_is_there_with_its_status() {
    let document = document();
    let mut given: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for (_, _, operation) in operations(&document) {
        for (code, status) in refusals(&document, &operation) {
            given.entry(code).or_default().insert(status);
        }
    }
    for error in error_page::each() {
        let (code, status) = (error.code(), error.status());
        // A wrong method is a mistake of no operation; the document has it apart.
        if code == "method_not_allowed" {
            assert!(document.pointer("/components/responses/MethodNotAllowed").is_some());
            continue;
        }
        assert_eq!(given.remove(code), Some(BTreeSet::from([status])), "{code}");
    }
    assert!(given.is_empty(), "codes that the enum has not: {given:?}");
}

#[test]
fn every_error_as_it_is_sent_fits_its_schema() {
    let document = document();
    for error in error_page::each() {
        let name = format!("#/components/schemas/{}", schema_name(error.code()));
        let strict = json!({ "$ref": name, "components": document["components"] });
        let validator = jsonschema::draft202012::new(&strict).unwrap();
        let mut body = error.body("7f0c1e0a-1");
        if body["message"] == json!("") {
            body["message"] = json!("a message of no words");
        }
        let wrong: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{body}: {wrong:?}");
        // And each member beside the three is described.
        let described =
            document.pointer(&format!("/components/schemas/error.{}/allOf/1/properties", error.code()));
        let described: BTreeSet<&String> = described.unwrap().as_object().unwrap().keys().collect();
        for member in body.as_object().unwrap().keys() {
            let common = ["error", "message", "request_id"].contains(&member.as_str());
            assert!(common || described.contains(member), "{}: {member}", error.code());
        }
    }
}

#[test]
fn who_may_be_told_to_wait_is_told_for_how_long() {
    for error in error_page::each() {
        if error.retry_after_s().is_some() {
            assert!(RETRIED.contains(&error.status()), "{}", error.code());
        }
    }
}

#[test]
fn below_v1_errors_have_the_form_of_openai() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let openai = super::super::error::ErrorForm::of(&path) == super::super::error::ErrorForm::OpenAi;
        for (status, response) in operation["responses"].as_object().unwrap() {
            let says = response.to_string().contains("OpenAiError");
            let error = status.as_str() >= "400";
            assert_eq!(says, openai && error, "{method} {path} {status}");
        }
    }
}

#[test]
fn it_is_openapi_3_1() {
    let document = document();
    let spec: Spec = serde_json::from_value(document.clone()).unwrap();
    let options = Options::IgnoreUnusedResponses | Options::IgnoreUnusedSchemas;
    if let Err(error) = spec.validate(options, None) {
        panic!("{error}");
    }
    // The version is the package's.
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_schema_is_one_and_every_example_fits_its_own() {
    let document = document();
    let check = |schema: &Value, example: Option<&Value>, at: &str| {
        let whole = json!({ "allOf": [schema], "components": document["components"] });
        let validator = jsonschema::draft202012::new(&whole).unwrap_or_else(|error| panic!("{at}: {error}"));
        if let Some(example) = example {
            let wrong: Vec<String> = validator.iter_errors(example).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{at}: {wrong:?}");
        }
    };
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        check(schema, schema.get("example"), name);
    }
    let parameters = document["components"]["parameters"].as_object().unwrap();
    for (name, parameter) in parameters {
        check(&parameter["schema"], parameter.get("example"), name);
    }
    let mut examples = 0;
    for (method, path, operation) in operations(&document) {
        let answers = operation["responses"].as_object().unwrap().values().filter_map(|a| a.get("content"));
        let bodies = answers.chain(operation.pointer("/requestBody/content"));
        for content in bodies.flat_map(|content| content.as_object().unwrap().values()) {
            let example = content.get("example");
            examples += usize::from(example.is_some());
            check(&content["schema"], example, &format!("{method} {path}"));
        }
    }
    assert!(examples > 10, "{examples} examples");
}
