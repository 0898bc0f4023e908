//! Cases that are one request: the list a newcomer reads. What is said in `asserted` mode differs where an address
//! is believed there.

use crate::aliases;
use crate::table::Told::{Refused, Served};
use crate::table::{Case, Told};
use http_tests::tokens::now_s;
use http_tests::vars::ADMIN_KEY;
use reqwest::Method;
use serde_json::json;

type Routes = Vec<(Method, &'static str)>;

/// Every method and path that acts for a tenant, with its aliases.
fn tenants() -> Routes {
    aliases::for_a_tenant()
}

fn adjust() -> Routes {
    vec![(Method::POST, "/api/credits/adjust")]
}

/// Those of a tenant that read a JSON body.
fn bodies() -> Routes {
    let paths = aliases::ASK.into_iter().chain(aliases::USAGE);
    paths.map(|path| (Method::POST, path)).collect()
}

fn spoken() -> Routes {
    vec![(Method::POST, "/v1/audio/speech")]
}

fn heard() -> Routes {
    vec![(Method::POST, "/v1/audio/transcriptions")]
}

fn spenders() -> Routes {
    bodies()
}

fn lists() -> Routes {
    let own = ["/api/credits/ledger", "/api/credits/holds", "/api/credits/notices"];
    aliases::USAGE.into_iter().chain(own).map(|path| (Method::GET, path)).collect()
}

fn overridden() -> Routes {
    vec![(Method::GET, "/api/credits/adjust")]
}

const UNPROVEN: Told = Refused(401, "identity_unproven");
const MISMATCH: Told = Refused(403, "identity_mismatch");
const INVALID: Told = Refused(401, "token_invalid");
const NO_ADDRESS: Told = Refused(400, "invalid_email");
const NO_OPERATOR: Told = Refused(401, "unauthorized");
const NO_JSON: Told = Refused(400, "invalid_json");
const NO_AMOUNT: Told = Refused(400, "invalid_amount");
const FOREIGN_PAGE: Told = Refused(403, "origin_forbidden");

macro_rules! case {
    ($number:literal, $what:literal, $on:ident, $send:expr, $both:expr) => {
        case!($number, $what, $on, $send, $both, $both)
    };
    ($number:literal, $what:literal, $on:ident, $send:expr, $verified:expr, $asserted:expr) => {
        Case { number: $number, what: $what, on: $on, send: $send, verified: $verified, asserted: $asserted }
    };
}

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    // Who is calling
    case!(1, "`?email=` of a victim, no token", tenants, |s, call| call.query("email", &s.victim.email), UNPROVEN, Served),
    case!(2, "`X-User-Email` of a victim, no token", tenants, |s, call| call.claim(&s.victim.email), UNPROVEN, Served),
    case!(3, "own token and a victim's header", tenants, |s, call| s.mine(call).claim(&s.victim.email), MISMATCH),
    case!(3, "own token and a victim's query", tenants, |s, call| s.mine(call).query("email", &s.victim.email), MISMATCH),
    case!(4, "guest token and a victim's header", tenants, |s, call| call.bearer(&s.guest_token).claim(&s.victim.email), MISMATCH),
    case!(4, "guest token and a victim's query", tenants, |s, call| call.bearer(&s.guest_token).query("email", &s.victim.email), MISMATCH),
    case!(5, "bad token and a good header", tenants, |s, call| call.bearer("no.real.token").claim(&s.me.email), INVALID),
    case!(5, "no token after Bearer, and a good header", tenants, |s, call| call.header("authorization", "Bearer").claim(&s.me.email), INVALID),
    case!(5, "a key that is none, and a good header", tenants, |s, call| call.bearer("cog_0123456789abcdef").claim(&s.me.email), INVALID),
    case!(6, "query and header disagree", tenants, |s, call| call.claim(&s.me.email).query("email", &s.victim.email), MISMATCH),
    case!(6, "query and header disagree beside an own token", tenants, |s, call| s.mine(call).claim(&s.me.email).query("email", &s.victim.email), MISMATCH),

    // Tokens
    case!(7, "`alg` none", tenants, |s, call| s.unsigned(call), INVALID),
    case!(7, "HS256 signed with the public key", tenants, |s, call| s.hmac(call), INVALID),
    case!(7, "RS512", tenants, |s, call| s.rs512(call), INVALID),
    case!(7, "a token of another key", tenants, |s, call| s.strangers_key(call), INVALID),
    case!(8, "unknown `kid`", tenants, |s, call| s.changed(call, json!({"kid": "unknown"}), json!({})), INVALID),
    case!(8, "`jku` in the header", tenants, |s, call| s.changed(call, json!({"jku": format!("{}/jwks", s.lure.origin())}), json!({})), INVALID),
    case!(8, "`x5u` in the header", tenants, |s, call| s.changed(call, json!({"x5u": format!("{}/cert", s.lure.origin())}), json!({})), INVALID),
    case!(8, "`jwk` in the header", tenants, |s, call| s.changed(call, json!({"jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}), json!({})), INVALID),
    case!(8, "`crit` in the header", tenants, |s, call| s.changed(call, json!({"crit": ["exp"]}), json!({})), INVALID),
    case!(9, "expired", tenants, |s, call| s.changed(call, json!({}), json!({"exp": now_s() - 1})), INVALID),
    case!(9, "not yet valid", tenants, |s, call| s.changed(call, json!({}), json!({"nbf": now_s() + 300})), INVALID),
    case!(9, "wrong `iss`", tenants, |s, call| s.changed(call, json!({}), json!({"iss": "https://evil.io"})), INVALID),
    case!(9, "wrong `aud`", tenants, |s, call| s.changed(call, json!({}), json!({"aud": "https://evil.io"})), INVALID),
    case!(9, "a token of 9 KB", tenants, |s, call| s.changed(call, json!({}), json!({"filler": "x".repeat(9_216)})), INVALID),

    // Addresses
    case!(12, "`vıctim@x.io`", tenants, |_, call| call.query("email", "vıctim@x.io"), NO_ADDRESS),
    case!(12, "`a,b@x.io`", tenants, |_, call| call.claim("a,b@x.io"), NO_ADDRESS),
    case!(12, "an address with NUL", tenants, |_, call| call.query("email", "a\0@x.io"), NO_ADDRESS),
    case!(12, "an address of 5 KB", tenants, |_, call| call.query("email", &format!("{}@x.io", "a".repeat(5_120))), NO_ADDRESS),

    // The operator
    case!(13, "adjust without a key", adjust, |s, call| call.json(&json!({"email": s.me.email, "set": 9})), NO_OPERATOR),
    case!(13, "adjust with a user token", adjust, |s, call| s.mine(call).json(&json!({"email": s.me.email, "set": 9})), NO_OPERATOR),
    case!(13, "adjust with an empty key", adjust, |s, call| call.header("x-admin-key", "").json(&json!({"email": s.me.email, "set": 9})), NO_OPERATOR),
    case!(13, "the two admin headers disagree", adjust, |s, call| call.admin().header("x-admin-token", "another").json(&json!({"email": s.me.email, "set": 9})), NO_OPERATOR),
    case!(15, "`set` and `delta`", adjust, |s, call| call.admin().json(&json!({"email": s.me.email, "set": 1, "delta": 1})), Refused(400, "set_and_delta_conflict")),
    case!(15, "`set` is NaN", adjust, |s, call| call.admin().raw_json(format!(r#"{{"email":"{}","set":NaN}}"#, s.me.email)), NO_JSON),
    case!(15, "`set` is 1e30", adjust, |s, call| call.admin().json(&json!({"email": s.me.email, "set": 1e30})), NO_AMOUNT),
    case!(15, "`delta` is a text", adjust, |s, call| call.admin().json(&json!({"email": s.me.email, "delta": "5"})), NO_AMOUNT),
    case!(15, "`set` is negative", adjust, |s, call| call.admin().json(&json!({"email": s.me.email, "set": -1})), NO_AMOUNT),

    // Bodies and parameters
    case!(21, "a body over its limit", bodies, |s, call| s.mine(call).raw_json("x".repeat(1_048_577)), Refused(413, "payload_too_large")),
    case!(21, "JSON of depth 200", bodies, |s, call| s.mine(call).raw_json(format!(r#"{{"input":{}{}}}"#, "[".repeat(200), "]".repeat(200))), NO_JSON),
    case!(21, "a wrong content type", bodies, |s, call| s.mine(call).typed_body("text/plain", r#"{"input":"hi"}"#), Refused(400, "unsupported_content_type")),
    case!(21, "JSON cut short", bodies, |s, call| s.mine(call).raw_json(r#"{"input":"hi"#), NO_JSON),
    case!(21, "a body over its limit", spoken, |s, call| s.mine(call).raw_json("x".repeat(1_048_577)), Refused(413, "payload_too_large")),
    case!(21, "JSON cut short", spoken, |s, call| s.mine(call).raw_json(r#"{"input":"hi"#), NO_JSON),
    case!(21, "a text of 4,097 characters", spoken, |s, call| s.mine(call).json(&json!({"model": "auto", "voice": "alloy", "input": "x".repeat(4_097)})), Refused(400, "invalid_field")),
    case!(21, "a recording over its limit", heard, |s, call| s.mine(call).typed_body("multipart/form-data; boundary=x", vec![0; 26_345_473]), Refused(413, "payload_too_large")),
    case!(21, "JSON where a form is expected", heard, |s, call| s.mine(call).json(&json!({"model": "auto"})), Refused(400, "invalid_form")),
    case!(21, "a form cut short", heard, |s, call| s.mine(call).typed_body("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF"), Refused(400, "invalid_form")),
    case!(22, "`limit=-1`", lists, |s, call| s.mine(call).query("limit", "-1"), Served),
    case!(22, "`limit=1e9`", lists, |s, call| s.mine(call).query("limit", "1e9"), Served),
    case!(22, "`limit=abc`", lists, |s, call| s.mine(call).query("limit", "abc"), Served),
    case!(22, "a forged cursor", lists, |s, call| s.mine(call).query("cursor", "1700000000000-3-0123456789ab"), Refused(400, "invalid_cursor")),

    // Pages
    case!(26, "the cookie from Origin `null`", spenders, |s, call| s.cookie(call).header("origin", "null"), FOREIGN_PAGE),
    case!(26, "the cookie from a longer host", spenders, |s, call| s.cookie(call).header("origin", "https://app.cognomega.com.evil.io"), FOREIGN_PAGE),
    case!(26, "the cookie from plain http", spenders, |s, call| s.cookie(call).header("origin", "http://app.cognomega.com"), FOREIGN_PAGE),
    case!(26, "the cookie from another port", spenders, |s, call| s.cookie(call).header("origin", "https://app.cognomega.com:444"), FOREIGN_PAGE),

    // Methods
    case!(36, "a method-override header", overridden, |_, call| call.header("x-http-method-override", "POST").header("x-admin-key", ADMIN_KEY), Refused(405, "method_not_allowed")),
];

/// Parts of the contract that are not built: each route says so, and a case of it waits here. When one is built, this
/// fails, and its case is to be written.
pub struct Later {
    pub number: u8,
    pub what: &'static str,
    pub method: Method,
    pub path: &'static str,
}

const fn later(number: u8, what: &'static str, method: Method, path: &'static str) -> Later {
    Later { number, what, method, path }
}

#[rustfmt::skip]
pub const LATER: &[Later] = &[
    later(24, "n/a: uploads of forms are a later feature. Those of files are above", Method::POST, "/v1/files/upload"),
    later(25, "n/a: downloads are a later feature. Uploaded HTML fetched back", Method::GET, "/api/files/abc"),
    later(30, "n/a: the socket of OpenAI's Realtime is a later feature. Its frames; those of our own are below", Method::GET, "/v1/realtime"),
    later(37, "n/a: the inspector is a later feature. Read-only SQL", Method::POST, "/api/admin/actors/tenant/abc/sql"),
];
