//! The one place that logs: one JSON object a line, its fields from this list and no others.
//!
//! No header, body, token, key, address or provider text is ever a field.

use std::cell::RefCell;

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
    /// What the log calls the tenant's actor (`config::LogNames`), when the tenant is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<&'a str>,
    /// An operator acted, for the tenant or for none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub operator: bool,
    /// Which operator's key came along: `first` is `ADMIN_API_KEY`, `second` `ADMIN_API_KEY_NEXT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_key: Option<&'a str>,
    /// Whose answer it is. Providers that failed before it have lines of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'a str>,
    /// The stable code of an error response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

/// The line of one call to a provider that failed, or came after one that did.
#[derive(Debug, Serialize)]
pub struct AttemptLine<'a> {
    pub event: &'a str,
    pub request_id: &'a str,
    pub provider: &'a str,
    pub outcome: &'a str,
    pub duration_ms: i64,
}

/// A model of a provider is left alone from now on, for so long.
#[derive(Serialize)]
struct BreakerLine<'a> {
    event: &'a str,
    provider: &'a str,
    model: &'a str,
    open_ms: i64,
}

/// A provider said that it used what it cannot have used.
#[derive(Serialize)]
struct UsageLine<'a> {
    event: &'a str,
    request_id: &'a str,
    provider: &'a str,
    model: &'a str,
    /// `absurd` or `inflated`.
    flag: &'a str,
}

/// The line of one command that an actor ran; only with `LOG_LEVEL=debug`, because an ask is two or three.
#[derive(Serialize)]
struct CommandLine<'a> {
    event: &'a str,
    request_id: Option<&'a str>,
    /// What the log calls the actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    command: &'a str,
    refused: bool,
}

#[derive(Serialize)]
struct FaultLine<'a> {
    event: &'a str,
    /// Absent in what no request caused: alarms, triggers, the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    detail: &'a str,
}

#[derive(Serialize)]
struct SelfCheckLine<'a> {
    event: &'a str,
    ok: bool,
    providers: &'a [&'a str],
}

#[derive(Serialize)]
struct SweepLine<'a> {
    event: &'a str,
    request_id: &'a str,
    actors: usize,
}

/// No request makes a delivery: an alarm does, up to a day after the request that there is something to tell of. So the
/// line names its notice instead.
#[derive(Serialize)]
struct DeliveryLine<'a> {
    event: &'a str,
    /// What the log calls the actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    /// The notice's number, in which `webhook-id` ends. That id itself has a part of a plain digest of the address.
    notice: i64,
    attempt: u32,
    /// A status code, or a word of ours.
    outcome: &'a str,
}

/// An attempt to deliver a notice.
pub fn delivery(actor: Option<&str>, notice: i64, attempt: u32, outcome: &str) {
    print(&DeliveryLine { event: "notice_delivery", actor, notice, attempt, outcome });
}

/// What the cron trigger found.
pub fn self_check(ok: bool, providers: &[&str]) {
    print(&SelfCheckLine { event: "self_check", ok, providers });
}

/// How many actors the cron trigger asked whether something is due. Its id is in their lines too.
pub fn sweep(request_id: &str, actors: usize) {
    print(&SweepLine { event: "sweep", request_id, actors });
}

/// A provider failed too often.
pub fn breaker_opened(provider: &str, model: &str, open_ms: i64) {
    print(&BreakerLine { event: "breaker_opened", provider, model, open_ms });
}

/// A usage that is not believed.
pub fn usage_flagged(request_id: &str, provider: &str, model: &str, flag: &str) {
    print(&UsageLine { event: "usage_flagged", request_id, provider, model, flag });
}

pub fn request(line: &RequestLine<'_>) {
    print(line);
}

pub fn attempt(line: &AttemptLine<'_>) {
    print(line);
}

/// A command that an actor ran, as part of the request of [`within`].
pub fn command(actor: Option<&str>, command: &str, refused: bool) {
    REQUEST_ID.with_borrow(|request_id| {
        let request_id = request_id.as_deref();
        print(&CommandLine { event: "command", request_id, actor, command, refused });
    });
}

thread_local! {
    /// The request whose command an actor runs just now.
    static REQUEST_ID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does `work`, which waits for nothing, as part of a request: the faults found in it name the request.
pub fn within<T>(request_id: Option<String>, work: impl FnOnce() -> T) -> T {
    let outer = REQUEST_ID.replace(request_id);
    let value = work();
    REQUEST_ID.set(outer);
    value
}

/// The request that the work of [`within`] is part of, when a request caused it.
pub fn request_id() -> Option<String> {
    REQUEST_ID.with_borrow(Clone::clone)
}

/// Something an operator should look at. `detail` is ours: a broken rule or the database's words.
pub fn fault(event: &str, detail: &str) {
    REQUEST_ID.with_borrow(|request_id| {
        print(&FaultLine { event, request_id: request_id.as_deref(), detail });
    });
}

/// Whether a text can be the id of a request, of ours or of the platform's.
pub fn is_request_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The same, found by a request at the front door.
pub fn fault_of(request_id: &str, event: &str, detail: &str) {
    print(&FaultLine { event, request_id: Some(request_id), detail });
}

fn print(line: &impl Serialize) {
    if let Ok(json) = serde_json::to_string(line) {
        worker::console_log!("{json}");
    }
}
