//! The paths that mean the same, so that every test of a route runs on all of them.

use http_tests::client::{Call, Client};
use reqwest::Method;
use serde_json::json;

pub const ASK: [&str; 2] = ["/api/si/ask", "/si/ask"];

pub const BALANCE: [&str; 5] =
    ["/api/credits", "/credits", "/api/v1/credits", "/api/billing/balance", "/api/v1/billing/balance"];

pub const USAGE: [&str; 6] = [
    "/api/billing/usage",
    "/billing/usage",
    "/api/usage",
    "/usage",
    "/api/v1/usage",
    "/api/v1/billing/usage",
];

pub const GUEST: [&str; 3] = ["/auth/guest", "/api/auth/guest", "/api/v1/auth/guest"];

pub const HEALTH: [&str; 5] = ["/healthz", "/api/healthz", "/api/v1/healthz", "/health", "/api/health"];

/// What a tenant can read of itself, without an alias.
pub const OWN_READS: [&str; 4] =
    ["/api/credits/ledger", "/api/credits/holds", "/api/credits/notices", "/api/credits/verify"];

/// Read by a tenant, and set by an operator.
pub const LIMITS: &str = "/api/credits/limits";

/// Takes a file of whoever may ask.
pub const UPLOAD: &str = "/api/upload/direct";

/// Every method and path that acts for a tenant.
pub fn for_a_tenant() -> Vec<(Method, &'static str)> {
    let reads = BALANCE.into_iter().chain(USAGE).chain(OWN_READS).chain([LIMITS]);
    let writes = ASK.into_iter().chain(USAGE).chain([UPLOAD]);
    reads.map(|path| (Method::GET, path)).chain(writes.map(|path| (Method::POST, path))).collect()
}

/// A request that would be served if its caller were proven.
pub fn good_call(client: &Client, method: &Method, path: &str) -> Call {
    let call = client.call(method.clone(), path);
    if method == Method::GET {
        return call;
    }
    call.json(&json!({"input": "Who am I?", "route": "/client", "tokens_in": 1}))
}
