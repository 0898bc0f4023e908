//! Secrets that carry their own routing: the digest that names their actor, 32 random bytes, a checksum.
//!
//! No table maps them to tenants, and what they carry tells nobody an address. API keys and tickets are such.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What such secrets have in common, under a kind's own name: one of another kind fails its checksum.
#[derive(Debug, Clone, Copy)]
pub struct Kind(pub &'static str);

const ROUTING_BYTES: usize = 32;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
/// The version in an actor's name; the rest is the digest in hexadecimal digits.
const NAME_VERSION: &str = "v1-";

/// A secret that looks like one of ours; whether it opens anything, its actor knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Presented {
    pub actor: String,
    /// What the actor knows of the secret.
    pub digest: String,
}

impl Kind {
    /// The secret for the actor of this name, in letters; `None` for a name that is none.
    pub fn compose(self, actor: &str, secret: &[u8; SECRET_BYTES]) -> Option<String> {
        let mut bytes = from_hex(actor.strip_prefix(NAME_VERSION)?)?;
        bytes.extend_from_slice(secret);
        let sum = self.checksum(&bytes);
        bytes.extend_from_slice(&sum);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Takes one apart. A mistyped one is found by its checksum, and costs its actor nothing.
    pub fn present(self, letters: &str) -> Option<Presented> {
        let bytes = URL_SAFE_NO_PAD.decode(letters).ok()?;
        let body_bytes = bytes.len().checked_sub(CHECKSUM_BYTES)?;
        let (body, sum) = bytes.split_at_checked(body_bytes)?;
        let (routing, secret) = body.split_at_checked(ROUTING_BYTES)?;
        if secret.len() != SECRET_BYTES || sum != self.checksum(body) {
            return None;
        }
        let actor = format!("{NAME_VERSION}{}", hex(routing));
        Some(Presented { actor, digest: digest(secret) })
    }

    fn checksum(self, body: &[u8]) -> [u8; CHECKSUM_BYTES] {
        let [a, b, c, d, ..]: [u8; 32] = Sha256::new_with_prefix(self.0).chain_update(body).finalize().into();
        [a, b, c, d]
    }
}

/// What is stored of a secret. It is random and long, so a plain digest cannot be searched.
pub fn digest(secret: &[u8]) -> String {
    format!("{:x}", Sha256::digest(secret))
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

    use super::*;

    #[test]
    fn one_kind_is_never_taken_for_another() {
        let actor = TenantId::from_email("me@x.io").unwrap().actor_name("tenant");
        let letters = Kind("one").compose(&actor, &[7; 32]).unwrap();
        assert_eq!(Kind("one").present(&letters), Some(Presented { actor, digest: digest(&[7; 32]) }));
        assert_eq!(Kind("other").present(&letters), None);
    }
}
