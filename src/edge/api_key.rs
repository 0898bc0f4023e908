//! API keys as clients hold them: `cog_`, where the key's actor is, the secret, and a checksum.
//!
//! The key carries its own routing, so no table maps keys to tenants. What it carries is the digest that names the
//! actor: it tells nobody an address.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

const PREFIX: &str = "cog_";
const ROUTING_BYTES: usize = 32;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
/// The version in an actor's name; the rest is the digest in hexadecimal digits.
const NAME_VERSION: &str = "v1-";

/// A key that looks like one of ours; whether it opens anything, its actor knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    pub actor: String,
    /// What the actor knows of the secret.
    pub digest: String,
}

/// Whether a bearer token is meant to be an API key.
pub fn is_meant(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// The key for the actor of this name; `None` for a name that is none.
pub fn compose(actor: &str, secret: &[u8; SECRET_BYTES]) -> Option<String> {
    let mut bytes = from_hex(actor.strip_prefix(NAME_VERSION)?)?;
    bytes.extend_from_slice(secret);
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Takes a key apart. A mistyped one is found by its checksum, and costs its actor nothing.
pub fn present(token: &str) -> Option<Presented> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
    let body_bytes = bytes.len().checked_sub(CHECKSUM_BYTES)?;
    let (body, sum) = bytes.split_at_checked(body_bytes)?;
    let (routing, secret) = body.split_at_checked(ROUTING_BYTES)?;
    if secret.len() != SECRET_BYTES || sum != checksum(body) {
        return None;
    }
    let actor = format!("{NAME_VERSION}{}", hex(routing));
    Some(Presented { actor, digest: digest(secret) })
}

/// What is stored of a secret. It is random and long, so a plain digest cannot be searched.
pub fn digest(secret: &[u8]) -> String {
    format!("{:x}", Sha256::digest(secret))
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::new_with_prefix(PREFIX).chain_update(body).finalize().into();
    [a, b, c, d]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let lower = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if digits.len() != ROUTING_BYTES.saturating_mul(2) || !lower {
        return None;
    }
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use actors::shared::TenantId;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_leads_to_its_actor_and_tells_no_address() {
        let actor = TenantId::from_email("me@x.io").unwrap().actor_name("tenant");
        let key = compose(&actor, &[7; 32]).unwrap();
        assert!(key.starts_with("cog_") && key.len() == 95, "{key}");
        assert_eq!(present(&key), Some(Presented { actor, digest: digest(&[7; 32]) }));
        assert_eq!(compose("v1-zz", &[7; 32]), None);
    }

    proptest! {
        #[test]
        fn a_slip_is_noticed(at in 4_usize..95, by in 1_u8..64) {
            const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let actor = TenantId::from_email("me@x.io").unwrap().actor_name("tenant");
            let mut key = compose(&actor, &[7; 32]).unwrap().into_bytes();
            let old = LETTERS.iter().position(|letter| *letter == key[at]).unwrap();
            key[at] = LETTERS[(old + usize::from(by)) % LETTERS.len()];
            prop_assert_eq!(present(std::str::from_utf8(&key).unwrap()), None);
        }

        #[test]
        fn anything_can_be_thrown_at_it(text in "\\PC{0,200}") {
            let _found = present(&text);
            let _prefixed = present(&format!("cog_{text}"));
        }
    }
}
