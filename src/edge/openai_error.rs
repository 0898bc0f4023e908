//! Errors as clients of OpenAI's API read them: an object in an object, on the paths that speak its language.

use serde_json::{Value, json};

use super::error::ApiError;

/// The form of an error's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorForm {
    /// `{"error": code, …}`, everywhere else.
    Flat,
    /// `{"error": {"message", "type", "code", "param"}}`.
    OpenAi,
}

/// Below this every path speaks OpenAI's language, known or not.
const OPENAI_PATHS: &str = "/v1/";
/// But for this one, which is older: its clients read the flat form.
const OWN_UPLOAD: &str = "/v1/files/upload";

impl ErrorForm {
    /// The form on `path`, which is in lower case.
    pub fn of(path: &str) -> Self {
        let openai = path.starts_with(OPENAI_PATHS) || path == "/v1";
        if openai && path != OWN_UPLOAD { Self::OpenAi } else { Self::Flat }
    }
}

impl ApiError {
    /// The response body in OpenAI's form. The id of the request is in `X-Request-Id`, as it is there.
    pub fn openai_body(&self) -> Value {
        json!({ "error": {
            "message": self.message(),
            "type": self.openai_type(),
            "code": self.code(),
            "param": self.param(),
        } })
    }

    /// What kind of mistake it is, in OpenAI's words.
    const fn openai_type(&self) -> &'static str {
        match self.status() {
            401 => "authentication_error",
            402 => "insufficient_quota",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The parameter that is wrong, where it is one.
    fn param(&self) -> Option<&str> {
        match self {
            Self::InvalidField { field, .. } => Some(field),
            Self::InvalidSetting { field, .. } => Some(field),
            Self::InvalidTime { parameter } => Some(parameter),
            Self::InvalidCursor => Some("cursor"),
            Self::UnknownModel => Some("model"),
            Self::MissingInput => Some("input"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error_page;
    use super::*;

    #[test]
    fn every_error_has_the_four_members_and_no_other() {
        for error in error_page::each() {
            let body = error.openai_body();
            let inner = body["error"].as_object().unwrap();
            let names: Vec<&str> = inner.keys().map(String::as_str).collect();
            assert_eq!(names, ["code", "message", "param", "type"], "{body}");
            assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
            assert_eq!(inner["code"], error.code());
            assert!(inner["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
            let server = inner["type"] == "server_error";
            assert_eq!(server, error.status() >= 500, "{body}");
        }
        let wrong = ApiError::InvalidField { field: "max_tokens", expected: "a number" };
        assert_eq!(wrong.openai_body()["error"]["param"], "max_tokens");
        assert_eq!(ApiError::TokenInvalid.openai_body()["error"]["type"], "authentication_error");
    }

    #[test]
    fn paths_below_v1_speak_it_but_for_the_old_upload() {
        for path in ["/v1", "/v1/", "/v1/chat/completions", "/v1/nothing", "/v1/files/upload/x"] {
            assert_eq!(ErrorForm::of(path), ErrorForm::OpenAi, "{path}");
        }
        for path in ["/", "/v1x", "/api/v1/credits", "/v1/files/upload", "/api/si/ask"] {
            assert_eq!(ErrorForm::of(path), ErrorForm::Flat, "{path}");
        }
    }
}
