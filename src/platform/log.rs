//! The one place that logs: one JSON object a line, its fields from this list and no others.
//!
//! No header, body, token, key, address or provider text is ever a field.

use serde::Serialize;

/// The line of one request: all that is said of it, because every line costs.
#[derive(Debug, Default, Serialize)]
pub struct RequestLine<'a> {
    pub event: &'a str,
    pub request_id: &'a str,
    pub method: &'a str,
    /// The route's pattern, never the path: a path may hold an id.
    pub route: &'a str,
    pub status: u16,
    pub duration_ms: i64,
    /// The name of the tenant's actor, when the tenant is known: a digest, so the line holds no address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<&'a str>,
    /// An operator acted for the tenant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub operator: bool,
    /// The stable code of an error response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

/// The line of one call to a provider.
#[derive(Debug, Serialize)]
pub struct AttemptLine<'a> {
    pub event: &'a str,
    pub request_id: &'a str,
    pub provider: &'a str,
    pub outcome: &'a str,
    pub duration_ms: i64,
}

#[derive(Serialize)]
struct FaultLine<'a> {
    event: &'a str,
    detail: &'a str,
}

#[derive(Serialize)]
struct SelfCheckLine<'a> {
    event: &'a str,
    ok: bool,
    providers: &'a [&'a str],
}

#[derive(Serialize)]
struct DeliveryLine<'a> {
    event: &'a str,
    attempt: u32,
    /// A status code, or a word of ours.
    outcome: &'a str,
}

/// An attempt to deliver a notice.
pub fn delivery(attempt: u32, outcome: &str) {
    print(&DeliveryLine { event: "notice_delivery", attempt, outcome });
}

/// What the cron trigger found.
pub fn self_check(ok: bool, providers: &[&str]) {
    print(&SelfCheckLine { event: "self_check", ok, providers });
}

pub fn request(line: &RequestLine<'_>) {
    print(line);
}

pub fn attempt(line: &AttemptLine<'_>) {
    print(line);
}

/// Something an operator should look at. `detail` is ours: a broken rule or the database's words.
pub fn fault(event: &str, detail: &str) {
    print(&FaultLine { event, detail });
}

fn print(line: &impl Serialize) {
    if let Ok(json) = serde_json::to_string(line) {
        worker::console_log!("{json}");
    }
}
