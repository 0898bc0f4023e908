//! API keys as clients hold them: `cog_`, where the key's actor is, the secret, and a checksum.
//!
//! The key carries its own routing, so no table maps keys to tenants. What it carries is the digest that names the
//! actor: it tells nobody an address.

use super::routed_secret::Kind;
pub use super::routed_secret::{Presented, digest};

const PREFIX: &str = "cog_";
const KIND: Kind = Kind(PREFIX);

/// Whether a bearer token is meant to be an API key.
pub fn is_meant(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// The key for the actor of this name; `None` for a name that is none.
pub fn compose(actor: &str, secret: &[u8; 32]) -> Option<String> {
    Some(format!("{PREFIX}{}", KIND.compose(actor, secret)?))
}

/// Takes a key apart. A mistyped one is found by its checksum, and costs its actor nothing.
pub fn present(token: &str) -> Option<Presented> {
    KIND.present(token.strip_prefix(PREFIX)?)
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
