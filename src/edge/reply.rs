//! A reply as plain values, and its one conversion to the platform's response.

use actors::rate::{BudgetLeft, CREDITS_PER_DAY, IN_FLIGHT, TOKENS};
use actors::shared::Micro;
use actors::tenant::Standing;
use futures::channel::oneshot;
use serde_json::{Map, Value, json};
use wasm_bindgen::prelude::*;
use web_sys::{ReadableStream, Response};

use super::error::{ApiError, ErrorForm};

#[wasm_bindgen]
extern "C" {
    /// A response from the JSON of its status and headers, whose values are safe: the platform refuses none of them.
    #[wasm_bindgen(js_namespace = cognomega)]
    fn response(init: &str, body: Option<&str>) -> Response;

    #[wasm_bindgen(js_namespace = cognomega, js_name = response)]
    fn streamed_response(init: &str, body: &ReadableStream) -> Response;

    /// The same with the socket of `opened`, whose status it has.
    #[wasm_bindgen(js_namespace = cognomega)]
    fn upgraded(init: &str, opened: &Response) -> Response;
}

pub enum Body {
    Empty,
    Text(String),
    Stream(ReadableStream),
    /// The client's end of a socket, in the response that opened it.
    Socket(Response),
}

/// The sender of the one reply a request gets.
pub type ReplyTo = oneshot::Sender<Result<Reply, ApiError>>;

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    /// The code of an error reply, for the log.
    pub error: Option<&'static str>,
    /// The budget that a reply refuses by.
    refused: Option<BudgetLeft>,
}

/// Micro-credits of a thousandth of a credit.
const MICRO_PER_MILLI: i64 = 1_000;
const SET_COOKIE: &str = "set-cookie";
const JSON_TYPE: &str = "application/json; charset=utf-8";

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::json_text(status, body.to_string())
    }

    /// JSON that is text already.
    pub fn json_text(status: u16, body: String) -> Self {
        Self {
            status,
            headers: vec![("content-type", JSON_TYPE.to_owned()), ("cache-control", "no-store".to_owned())],
            body: Body::Text(body),
            error: None,
            refused: None,
        }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Empty, error: None, refused: None }
    }

    /// A server-sent event stream.
    pub fn events(stream: ReadableStream) -> Self {
        Self {
            status: 200,
            headers: vec![
                ("content-type", "text/event-stream; charset=utf-8".to_owned()),
                ("cache-control", "no-store".to_owned()),
                // Proxies that gather a response before passing it on would undo the stream.
                ("x-accel-buffering", "no".to_owned()),
            ],
            body: Body::Stream(stream),
            error: None,
            refused: None,
        }
    }

    /// Bytes or text of another kind than JSON.
    pub fn of_media(media: &str, body: Body) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", media.to_owned()), ("cache-control", "no-store".to_owned())],
            body,
            error: None,
            refused: None,
        }
    }

    /// A socket that was opened.
    pub fn socket(opened: Response) -> Self {
        Self { body: Body::Socket(opened), ..Self::empty(101) }
    }

    pub fn error(error: &ApiError, request_id: &str, form: ErrorForm) -> Self {
        let body = match form {
            ErrorForm::Flat => error.body(request_id),
            ErrorForm::OpenAi => error.openai_body(),
        };
        let mut reply = Self::json(error.status(), &body);
        reply.error = Some(error.code());
        if let ApiError::MethodNotAllowed { allow } = error {
            reply.headers.push(("allow", allow.clone()));
        }
        if let Some(seconds) = error.retry_after_s() {
            reply.headers.push(("retry-after", seconds.to_string()));
        }
        if let ApiError::RateLimited { policy, limit, window_ms, retry_after_ms, remaining } = error {
            let reset_ms = *retry_after_ms;
            let spent = BudgetLeft {
                policy: policy.clone(),
                limit: *limit,
                remaining: *remaining,
                window_ms: *window_ms,
                reset_ms,
            };
            reply = reply.with_budgets(std::slice::from_ref(&spent), None);
            reply.refused = Some(spent);
        }
        reply
    }

    /// A header that was set before.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(set, _)| *set == name).map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// `RateLimit-Policy` and `RateLimit`, in the form of draft-ietf-httpapi-ratelimit-headers-10: every budget,
    /// and the credits when they are given as (all that was granted, what is available).
    #[must_use]
    pub fn with_budgets(self, budgets: &[BudgetLeft], credits: Option<(Micro, Micro)>) -> Self {
        let (policies, left) = rate_limit_fields(budgets, credits);
        if policies.is_empty() {
            return self;
        }
        self.with("ratelimit-policy", policies).with("ratelimit", left)
    }

    /// Where the tenant stands, on a reply that does not say so. What a refusal says of its own budget stays.
    #[must_use]
    pub fn standing(mut self, standing: &Standing) -> Self {
        let Standing { budgets, granted, available } = standing;
        let credits = Some((*granted, *available));
        if !self.headers.iter().any(|(name, _)| *name == "ratelimit") {
            return self.with_budgets(budgets, credits);
        }
        let Some(refused) = self.refused.take() else {
            return self;
        };
        self.headers.retain(|(name, _)| !name.starts_with("ratelimit"));
        let others = budgets.iter().filter(|budget| budget.policy != refused.policy).cloned();
        let budgets: Vec<BudgetLeft> = std::iter::once(refused.clone()).chain(others).collect();
        self.with_budgets(&budgets, credits)
    }

    /// The platform's response.
    pub fn into_response(self) -> Response {
        let headers =
            self.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(header_safe(value))));
        // The one header that may be there several times is given apart from the others.
        let (cookies, others): (Vec<_>, Vec<_>) = headers.partition(|(name, _)| name == SET_COOKIE);
        let others: Map<String, Value> = others.into_iter().collect();
        let headers = if cookies.is_empty() {
            Value::Object(others)
        } else {
            Value::Array(
                others.into_iter().chain(cookies).map(|(name, value)| json!([name, value])).collect(),
            )
        };
        let init = json!({ "status": self.status, "headers": headers }).to_string();
        // One crossing for all of it, where a call for each header would be a dozen.
        match &self.body {
            Body::Empty => response(&init, None),
            Body::Text(text) => response(&init, Some(text)),
            Body::Stream(stream) => streamed_response(&init, stream),
            Body::Socket(opened) => upgraded(&init, opened),
        }
    }
}

/// Both fields. Credits are counted in thousandths, as whole numbers; they have no window.
fn rate_limit_fields(budgets: &[BudgetLeft], credits: Option<(Micro, Micro)>) -> (String, String) {
    let (mut policies, mut lefts) = (Vec::new(), Vec::new());
    for budget in budgets {
        let BudgetLeft { policy, limit, remaining, window_ms, reset_ms } = budget;
        let base = policy.split('@').next().unwrap_or_default();
        let (unit, scale) = match base {
            IN_FLIGHT => (";qu=\"concurrent-requests\"", 1),
            TOKENS => (";qu=\"tokens\"", 1),
            CREDITS_PER_DAY => (";qu=\"millicredits\"", MICRO_PER_MILLI),
            _ => ("", 1),
        };
        let (quota, left) = (limit.div_euclid(scale), remaining.div_euclid(scale));
        let window = if *window_ms > 0 { format!(";w={}", window_ms / 1_000) } else { String::new() };
        let reset = if *window_ms > 0 { format!(";t={}", seconds_up(*reset_ms)) } else { String::new() };
        policies.push(format!("\"{policy}\";q={quota}{window}{unit}"));
        lefts.push(format!("\"{policy}\";r={left}{reset}"));
    }
    if let Some((granted, available)) = credits {
        policies.push(format!("\"credits\";q={};qu=\"millicredits\"", granted.thousandths().max(0)));
        lefts.push(format!("\"credits\";r={}", available.thousandths()));
    }
    (policies.join(", "), lefts.join(", "))
}

/// Whole seconds that are enough.
pub fn seconds_up(ms: i64) -> i64 {
    ms.saturating_add(999).div_euclid(1_000)
}

/// Values may come from a provider or a client: only visible ASCII and inner spaces reach a header.
fn header_safe(value: &str) -> String {
    let clean: String = value.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_budget_is_a_policy() {
        let left = |policy: &str, limit, remaining, window_ms, reset_ms| BudgetLeft {
            policy: policy.to_owned(),
            limit,
            remaining,
            window_ms,
            reset_ms,
        };
        let budgets = [
            left("requests", 60, 14, 60_000, 1_001),
            left("credits-per-day", 5_000_999, 1_999, 86_400_000, 0),
            left("in-flight@k", 8, 7, 0, 0),
        ];
        let (policies, lefts) = rate_limit_fields(&budgets, Some((Micro(5_000_000), Micro(4_998_500))));
        assert_eq!(
            policies,
            "\"requests\";q=60;w=60, \"credits-per-day\";q=5000;w=86400;qu=\"millicredits\", \
             \"in-flight@k\";q=8;qu=\"concurrent-requests\", \"credits\";q=5000;qu=\"millicredits\""
        );
        let expected =
            "\"requests\";r=14;t=2, \"credits-per-day\";r=1;t=0, \"in-flight@k\";r=7, \"credits\";r=4998";
        assert_eq!(lefts, expected);
    }

    #[test]
    fn nothing_can_break_out_of_a_header() {
        assert_eq!(header_safe("m\r\nset-cookie: a=b\u{0}\u{202e}é "), "mset-cookie: a=b");
    }
}
