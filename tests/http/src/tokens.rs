//! Tokens, honest and forged. Header and claims are plain JSON so that a test can write any lie.

use crate::keys::{self, KeyPair};
use crate::vars::{ISSUER, KEY_ID};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Longer than any run of the suite.
const USER_TOKEN_TTL_S: i64 = 7_200;

pub fn now_s() -> i64 {
    chrono::Utc::now().timestamp()
}

/// The header of every token the Worker accepts.
pub fn honest_header() -> Value {
    json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID})
}

/// Claims of a signed-in user.
pub fn user_claims(email: &str) -> Value {
    let now_s = now_s();
    json!({
        "iat": now_s,
        "exp": now_s + USER_TOKEN_TTL_S,
        "iss": ISSUER,
        "sub": email,
        "email": email,
        "role": "user",
    })
}

/// A token the Worker's own key signed for `email`. Signing takes a tenth of a second without optimisation,
/// so each address is signed for once.
pub fn user_token(email: &str) -> String {
    static SIGNED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut tokens = SIGNED.lock().expect("the signed tokens");
    let token = tokens
        .entry(email.to_owned())
        .or_insert_with(|| signed(&honest_header(), &user_claims(email), keys::worker()));
    token.clone()
}

/// RS256 over any header and any claims.
pub fn signed(header: &Value, claims: &Value, pair: &KeyPair) -> String {
    signed_as(header, claims, &pair.signing_key(), Algorithm::RS256)
}

pub fn signed_as(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = unsigned(header, claims);
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("the signature is computed");
    format!("{message}.{signature}")
}

/// The first two parts of a token.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// `value` with the members of `changes` put over it; `null` removes one.
pub fn with(mut value: Value, changes: Value) -> Value {
    let (Some(members), Value::Object(changes)) = (value.as_object_mut(), changes) else {
        panic!("header and claims are JSON objects");
    };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, change);
        }
    }
    value
}

/// Header and claims of a token, unverified.
pub fn decoded(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    });
    (parts.next().unwrap_or(Value::Null), parts.next().unwrap_or(Value::Null))
}
