//! Which page may call us, decided by exact origin, and told on every response, errors included.

use super::inbound::Inbound;
use super::limits::{PREFLIGHT_BYTES_MAX, PREFLIGHT_NAMES_MAX};
use super::reply::Reply;

const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";
/// Headers a page may send without naming them in a preflight of its own.
const ALLOWED: &[&str] = &[
    "Authorization",
    "Content-Type",
    "X-User-Email",
    "X-Admin-Key",
    "X-Admin-Token",
    "X-Intelligence-Tier",
    "Idempotency-Key",
    "Last-Event-ID",
];
const EXPOSED: &str = "Content-Type, Content-Disposition, X-Request-Id, X-Credits-Used, X-Credits-Balance, \
    X-Credits-Held, X-Tokens-In, X-Tokens-Out, X-Provider, X-Model, X-Intelligence-Tier, X-Identity-Source, \
    Idempotency-Replayed, X-Cache, X-Variant, X-Feedback-Id, RateLimit, RateLimit-Policy, Retry-After";
const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
const MAX_AGE_S: &str = "86400";

/// The answer to a preflight: 204 for every origin; the origin itself is named only when it is allowed.
pub fn preflight(inbound: &Inbound) -> Reply {
    let asked = inbound.header("access-control-request-headers").unwrap_or_default();
    Reply::empty(204)
        .with("access-control-allow-methods", METHODS)
        .with("access-control-allow-headers", allowed_headers(&asked))
        .with("access-control-max-age", MAX_AGE_S)
}

/// Adds what every response carries.
pub fn finish(reply: Reply, origin: Option<&str>, rules: &[String]) -> Reply {
    let reply = reply
        .with("vary", VARY)
        .with("access-control-allow-credentials", "true")
        .with("access-control-expose-headers", EXPOSED);
    match origin {
        Some(origin) if is_allowed(origin, rules) => reply.with("access-control-allow-origin", origin),
        _ => reply,
    }
}

/// Whether `origin` is listed: exactly, or by a rule with one `*` label, which stands for one label.
pub fn is_allowed(origin: &str, rules: &[String]) -> bool {
    rules.iter().any(|rule| match rule.split_once("*.") {
        None => rule == origin && rule != "*",
        Some((scheme, parent)) => {
            let label = origin
                .strip_prefix(scheme)
                .and_then(|rest| rest.strip_suffix(parent))
                .and_then(|rest| rest.strip_suffix('.'));
            scheme.ends_with("://") && label.is_some_and(is_label)
        }
    })
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The base list and what the preflight asks for: tokens of HTTP's grammar only, a bounded number of them.
pub(super) fn allowed_headers(asked: &str) -> String {
    let mut names: Vec<&str> = ALLOWED.to_vec();
    if asked.len() <= PREFLIGHT_BYTES_MAX {
        for name in asked.split(',').map(str::trim).filter(|name| is_token(name)).take(PREFLIGHT_NAMES_MAX) {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name);
            }
        }
    }
    names.join(", ")
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name != "*"
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules() -> Vec<String> {
        ["https://app.cognomega.com", "https://*.cognomega-frontend.pages.dev", "http://localhost:5173"]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn only_listed_origins_are_allowed() {
        for (origin, allowed) in [
            ("https://app.cognomega.com", true),
            ("http://localhost:5173", true),
            ("https://abc123.cognomega-frontend.pages.dev", true),
            ("null", false),
            ("*", false),
            ("", false),
            ("https://app.cognomega.com.evil.io", false),
            ("http://app.cognomega.com", false),
            ("https://app.cognomega.com:444", false),
            ("https://APP.cognomega.com", false),
            ("https://a.b.cognomega-frontend.pages.dev", false),
            ("https://.cognomega-frontend.pages.dev", false),
            ("https://cognomega-frontend.pages.dev", false),
            ("https://evil.io/.cognomega-frontend.pages.dev", false),
            ("https://evilcognomega-frontend.pages.dev", false),
        ] {
            assert_eq!(is_allowed(origin, &rules()), allowed, "{origin}");
        }
        assert!(!is_allowed("https://x.io", &["*".to_owned(), "https://*".to_owned()]));
    }

    #[test]
    fn odd_header_names_are_dropped() {
        let list = allowed_headers("X-New, bad name, x\r\ny, *, content-type, X-Ü, X-Last");
        assert!(list.ends_with("Last-Event-ID, X-New, X-Last"), "{list}");
    }

    #[test]
    fn asked_headers_are_bounded() {
        let many: Vec<String> = (0..100).map(|n| format!("x-{n}")).collect();
        assert_eq!(allowed_headers(&many.join(",")).split(", ").count(), ALLOWED.len() + PREFLIGHT_NAMES_MAX);
        assert_eq!(allowed_headers(&"x".repeat(2_000)), ALLOWED.join(", "));
    }

    proptest! {
        #[test]
        fn a_wildcard_matches_one_label_below_its_parent(origin in "\\PC{0,60}") {
            if is_allowed(&origin, &["https://*.pages.dev".to_owned()]) {
                let label = origin.strip_prefix("https://").unwrap().strip_suffix(".pages.dev").unwrap();
                prop_assert!(!label.contains(['.', '/', ':', '@']) && !label.is_empty());
            }
        }
    }
}
