//! Headers: tokens in their two shapes, cookies, idempotency keys, preflights, the operator's key.

use cognomega::parsers::{
    AdminKey, CookieFound, PREFLIGHT_BYTES_MAX, PREFLIGHT_NAMES_MAX, allowed_headers, bearer, find_cookie,
    idempotency_key, judge_admin_key,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

const COOKIE: &str = "cog_auth_jwt";
const HOST_COOKIE: &str = "__Host-cog_auth_jwt";
const LIVE: [&str; 2] = ["admin-key-of-this-target-and-no-other", "the-next-admin-key-of-this-target-only"];

pub fn run(data: &[u8]) {
    let raw = crate::text(data);
    authorization(&raw);
    authorization(&format!("Bearer {raw}"));
    cookies(&raw);
    cookies(&format!("{COOKIE}={raw}"));
    cookies(&format!("{HOST_COOKIE}={raw}; {COOKIE}={raw}"));
    idempotency(&raw);
    preflight(&raw);
    admin(&raw);
}

fn authorization(header: &str) {
    let Some(token) = bearer(header) else { return };
    let scheme = header.trim().get(..6).unwrap_or_default();
    assert!(scheme.eq_ignore_ascii_case("bearer"), "{header:?}");
    let rest = header.trim()[6..].trim();
    if rest.starts_with('{') {
        let object: Value = serde_json::from_str(rest).unwrap_or_default();
        assert_eq!(object.get("token").and_then(Value::as_str), Some(token.as_str()), "{header:?}");
    } else {
        assert_eq!(token, rest, "{header:?}");
        assert_eq!(bearer(&format!("bEARER  {token} ")), Some(token));
    }
}

fn cookies(header: &str) {
    let found = find_cookie(header);
    let says = |name: &str| {
        let named =
            header.split(';').map(str::trim).filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        named.map(|value| value.trim_matches('"')).collect::<Vec<_>>()
    };
    let (of_host, plain) = (says(HOST_COOKIE), says(COOKIE));
    let counts = if of_host.is_empty() { &plain } else { &of_host };
    match &found {
        CookieFound::Token(token) => {
            // An empty one of the host is a token, and none that is good.
            assert!((!token.is_empty() || !of_host.is_empty()) && !token.contains(';'), "{header:?}");
            assert!(counts.iter().all(|value| value == token), "{header:?}: one of several");
        }
        CookieFound::Ambiguous => assert!(counts.windows(2).any(|pair| pair[0] != pair[1]), "{header:?}"),
        CookieFound::None => {
            assert!(of_host.is_empty() && plain.iter().all(|value| value.is_empty()), "{header:?}");
        }
    }
    // A name that only ends like ours is another's, and a neighbour's plain cookie never speaks beside the host's own.
    assert_eq!(find_cookie(&format!("a=1; x{COOKIE}=no; {header}")), found, "{header:?}");
    if !of_host.is_empty() {
        assert_eq!(find_cookie(&format!("{COOKIE}=planted; {header}")), found, "{header:?}");
    }
}

fn idempotency(header: &str) {
    let Some(key) = idempotency_key(header) else { return };
    assert!((1..=255).contains(&key.len()) && key.bytes().all(|b| (b'!'..=b'~').contains(&b)), "{header:?}");
    assert_eq!(key, header.trim());
    assert_eq!(idempotency_key(key), Some(key));
}

fn preflight(asked: &str) {
    let none = allowed_headers("");
    let list = allowed_headers(asked);
    assert!(list.starts_with(&none), "{asked:?}");
    assert!(list.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{asked:?}");
    let (base, names): (Vec<&str>, Vec<&str>) = (none.split(", ").collect(), list.split(", ").collect());
    assert!(names.len() <= base.len() + PREFLIGHT_NAMES_MAX, "{asked:?}");
    assert!(list.len() <= none.len() + PREFLIGHT_BYTES_MAX + 2 * PREFLIGHT_NAMES_MAX, "{asked:?}");
    for name in &names[base.len()..] {
        assert!(asked.split(',').any(|part| part.trim() == *name), "{name} was not asked for");
        assert!(
            !name.is_empty()
                && *name != "*"
                && !name.contains(['(', ')', '<', '>', '@', ':', '"', '/', '=', '{', '}'])
        );
    }
}

fn admin(given: &str) {
    let [first, second] = LIVE.map(|key| -> [u8; 32] { Sha256::digest(key).into() });
    let judged = |key, token| judge_admin_key(key, token, Some(&first), Some(&second));
    let right = LIVE.contains(&given.trim());
    assert_eq!(judged(Some(given), None).is_valid(), right);
    assert_eq!(judged(None, Some(given)).is_valid(), right);
    assert_eq!(judged(Some(given), Some(given)).is_valid(), right);
    assert_eq!(judged(Some(given), Some("")), AdminKey::Invalid);
    assert_eq!(judge_admin_key(Some(given), None, None, None), AdminKey::Invalid, "no key is configured");
}
