//! Every path and alias: which methods it takes, in which spellings, and what it says to the others.

use crate::aliases;
use http_tests::contract;
use http_tests::world::World;
use reqwest::Method;
use serde_json::json;

/// A path, and the methods it takes.
type Row = (&'static str, &'static [Method]);

const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const GET_POST: &[Method] = &[Method::GET, Method::POST];
const GET_PUT: &[Method] = &[Method::GET, Method::PUT];
const GET_PATCH: &[Method] = &[Method::GET, Method::PATCH];
const GET_DELETE: &[Method] = &[Method::GET, Method::DELETE];
const GET_PUT_DELETE: &[Method] = &[Method::GET, Method::PUT, Method::DELETE];
const DELETE: &[Method] = &[Method::DELETE];

const ALL_METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

fn built() -> Vec<Row> {
    let aliased = [
        (&aliases::ASK[..], POST),
        (&aliases::BALANCE[..], GET),
        (&aliases::USAGE[..], GET_POST),
        (&aliases::GUEST[..], POST),
        (&aliases::HEALTH[..], GET),
        (&aliases::OWN_READS[..], GET),
    ];
    let single = [
        ("/.well-known/jwks.json", GET),
        ("/api/credits/adjust", POST),
        (aliases::LIMITS, GET_PUT),
        (aliases::UPLOAD, POST),
        ("/api/ai/binding", GET),
        ("/api/ai/test", POST),
        ("/api/admin/ping", GET_POST),
        ("/api/admin/env-snapshot", GET),
        ("/api/admin/providers", GET),
        ("/api/admin/tokens", POST),
        ("/api/skills", GET),
        ("/api/admin/prices", GET_PUT),
        ("/api/admin/skills", GET),
        ("/api/admin/skills/abc-1", GET_PUT_DELETE),
        ("/api/admin/skills/abc-1/rollback", POST),
        ("/auth/cookie", POST),
        ("/auth/logout", POST),
        ("/api/auth/logout", POST),
        ("/api/v1/auth/logout", POST),
        ("/api/keys", GET_POST),
        ("/api/keys/abc-1", DELETE),
        ("/api/tickets", POST),
        ("/api/events", GET),
        ("/api/si/feedback", POST),
        ("/api/admin/experiments", GET),
        ("/api/admin/experiments/abc-1", GET_PUT),
        ("/api/admin/experiments/abc-1/pause", POST),
        ("/api/admin/experiments/abc-1/resume", POST),
        ("/api/admin/experiments/abc-1/pin", POST),
        ("/api/admin/experiments/abc-1/promote", POST),
        ("/api/admin/experiments/abc-1/withdraw", POST),
        ("/v1/chat/completions", POST),
        ("/v1/models", GET),
        ("/v1/models/abc-1", GET),
        ("/v1/embeddings", POST),
        ("/v1/audio/speech", POST),
        ("/api/tts/cartesia/batch", POST),
        ("/v1/audio/transcriptions", POST),
        ("/api/jobs", GET_POST),
        ("/api/jobs/run", POST),
        ("/api/jobs/stats", GET),
        ("/api/jobs/dead", GET),
        ("/api/jobs/dead/redrive", POST),
        ("/api/jobs/schedules", GET),
        ("/api/jobs/schedules/abc-1", GET_PUT_DELETE),
        ("/api/jobs/abc-1", GET_PATCH),
        ("/api/jobs/abc-1/download", GET),
        ("/api/jobs/abc-1/cancel", POST),
        ("/api/jobs/abc-1/retry", POST),
        ("/api/voice/sessions", GET_POST),
        ("/api/voice/sessions/abc-1", GET_DELETE),
        ("/api/voice/sessions/abc-1/ws", GET),
        ("/api/voice/prefs", GET_PUT),
        ("/api/tts/cartesia/realtime-token", GET),
        ("/ready", GET),
        ("/openapi.json", GET),
    ];
    // `/auth/exchange` needs a configuration of its own: it is in the tests of the door.
    let aliased = aliased.iter().flat_map(|(paths, methods)| paths.iter().map(|path| (*path, *methods)));
    aliased.chain(single).collect()
}

/// In the contract, and answered with 501 until they are built. A row leaves this table with its 501.
const TO_COME: &[Row] = &[
    ("/v1/files/upload", POST),
    ("/api/files", GET),
    ("/api/files/abc-1", GET_DELETE),
    ("/v1/realtime", GET),
    ("/api/admin/cleanup", POST),
    ("/api/admin/backfill", POST),
    ("/api/admin/drift", GET),
    ("/api/admin/actors", GET),
    ("/api/admin/actors/tenant/abc-1", GET),
    ("/api/admin/actors/tenant/abc-1/state", GET),
    ("/api/admin/actors/tenant/abc-1/ledger", GET),
    ("/api/admin/actors/tenant/abc-1/jobs", GET),
    ("/api/admin/actors/tenant/abc-1/events", GET),
    ("/api/admin/actors/tenant/abc-1/sql", GET_POST),
    ("/api/admin/actors/tenant/abc-1/verify", GET),
    ("/api/admin/actors/tenant/abc-1/at", GET),
    ("/api/admin/actors/tenant/abc-1/redrive", POST),
    ("/api/admin/actors/tenant/abc-1/release-hold", POST),
    ("/api/admin/actors/tenant/abc-1/evict", POST),
    ("/metrics", GET),
];

/// Whether `method` is answered on a path that takes `methods`: HEAD is where GET is.
fn takes(methods: &[Method], method: &Method) -> bool {
    methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET))
}

#[tokio::test]
async fn what_is_not_built_yet_says_so() {
    let client = World::verified().await.client();
    for (path, methods) in TO_COME {
        for method in *methods {
            let call = client.call(method.clone(), path);
            let call = if method == Method::GET { call } else { call.json(&json!({})) };
            let reply = call.send().await;
            assert_eq!((reply.status, reply.error().as_str()), (501, "not_implemented"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_and_the_right_ones_are_named() {
    let client = World::verified().await.client();
    for (path, methods) in built().iter().chain(TO_COME) {
        for method in ALL_METHODS.iter().filter(|method| !takes(methods, method)) {
            let reply = client.call(method.clone(), path).send().await;
            assert_eq!(reply.status, 405, "{method} {path}: {reply:?}");
            if method != Method::HEAD {
                assert_eq!(reply.error(), "method_not_allowed", "{method} {path}");
            }
            let allow = reply.must_header("allow");
            let named: Vec<&str> = allow.split(',').map(str::trim).collect();
            for known in ALL_METHODS {
                let expected = takes(methods, &known);
                assert_eq!(named.contains(&known.as_str()), expected, "{path}: Allow: {allow}");
            }
        }
    }
}

#[tokio::test]
async fn built_paths_are_known_in_every_spelling() {
    let client = World::verified().await.client();
    for (path, methods) in built() {
        for spelling in [path.to_owned(), path.to_uppercase(), format!("{path}/")] {
            for method in methods {
                // Without an identity or a key most refuse, but none may say that it does not know the path.
                let reply = client.call(method.clone(), &spelling).send().await;
                assert!(!matches!(reply.status, 404 | 405 | 500..), "{method} {spelling}: {reply:?}");
            }
        }
    }
}

/// Every other test relies on it: what the client hears is compared with the document of the Worker itself.
#[tokio::test]
#[should_panic(expected = "has no answer 299")]
async fn a_reply_that_the_document_does_not_have_fails_its_test() {
    let client = World::verified().await.client();
    let mut reply = client.get("/healthz").send().await.expect(200);
    reply.status = 299;
    contract::check(&Method::GET, "/healthz", &reply, &World::verified().await.stack.target()).await;
}

#[tokio::test]
async fn head_is_answered_like_get_without_a_body() {
    let client = World::verified().await.client();
    for (path, methods) in built() {
        if !methods.contains(&Method::GET) {
            continue;
        }
        let get = client.get(path).send().await;
        let head = client.call(Method::HEAD, path).send().await;
        assert_eq!(get.status, head.status, "{path}");
        assert_eq!(get.header("content-type"), head.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_are_404_whatever_the_method() {
    let client = World::verified().await.client();
    let paths = [
        "/",
        "/api",
        "/api/credit",
        "/api/credits/adjust/more",
        "/api/credits//adjust",
        "/api/healthz//",
        "/v2/chat/completions",
        "/favicon.ico",
        "/api/jobs/a/b/c",
    ];
    for path in paths {
        for method in ALL_METHODS {
            let reply = client.call(method.clone(), path).send().await;
            assert_eq!(reply.status, 404, "{method} {path}: {reply:?}");
            assert!(method == Method::HEAD || reply.error() == "not_found", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_request_id_is_the_ray_when_there_is_one() {
    let client = World::verified().await.client();
    let ray = "8c1f3a2b4d5e6f70-AMS";
    for path in ["/healthz", "/api/credits", "/nowhere"] {
        let reply = client.get(path).header("cf-ray", ray).send().await;
        assert_eq!(reply.must_header("x-request-id"), ray, "{path}");
    }
    let (first, second) = (client.get("/nowhere").send().await, client.get("/nowhere").send().await);
    let (first, second) = (first.must_header("x-request-id"), second.must_header("x-request-id"));
    assert_ne!(first, second);
    assert!(uuid::Uuid::try_parse(first).is_ok(), "{first} is no UUID");
}

#[tokio::test]
async fn a_forged_ray_cannot_write_into_the_log() {
    let client = World::verified().await.client();
    for ray in ["a\"b", "a b", &"x".repeat(300), "{\"event\":\"forged\"}"] {
        let reply = client.get("/healthz").header("cf-ray", ray).send().await;
        assert_ne!(reply.must_header("x-request-id"), ray);
    }
}
