//! How a tenant is called in the log: a name that tells one tenant from another, and to nobody who has the log alone
//! which address it is.
//!
//! An actor's own name is a plain digest of the address, so whoever has one can try addresses until one fits. In the
//! log it is therefore put through an HMAC, with a key derived from a secret that the Worker has already.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::signing::SigningKey;

/// What a name in the log begins with, so that nobody takes it for an actor's.
const PREFIX: &str = "t1-";
/// As much of the HMAC as tells tenants apart.
const NAME_BYTES: usize = 16;

type HmacSha256 = Hmac<Sha256>;

/// Makes the names. Without any secret there is no key, and nobody is named.
pub struct LogNames(Option<HmacSha256>);

impl LogNames {
    /// The key follows from the signing key; where there is none, from the operator's key's digest. So the names change
    /// when that secret does.
    pub(super) fn new(signing: Option<&SigningKey>, admin_key: Option<&[u8; 32]>) -> Self {
        let secret =
            signing.map(|key| key.pkcs8_der.as_bytes()).or(admin_key.map(|digest| digest.as_slice()));
        let key = secret.and_then(|secret| {
            let mut derived = HmacSha256::new_from_slice(secret).ok()?;
            derived.update(b"names of tenants in the log");
            HmacSha256::new_from_slice(&derived.finalize().into_bytes()).ok()
        });
        Self(key)
    }

    /// What the log calls the tenant whose actor has that name.
    pub fn name(&self, actor: &str) -> Option<String> {
        let mut mac = self.0.clone()?;
        mac.update(actor.as_bytes());
        let bytes = mac.finalize().into_bytes();
        let digits: String = bytes.iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{PREFIX}{digits}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_the_secret_and_is_not_the_actors() {
        let names = LogNames::new(None, Some(&[1; 32]));
        let name = names.name("v1-aa").unwrap();
        assert!(name.len() == 35 && name.starts_with("t1-"), "{name}");
        assert_eq!(LogNames::new(None, Some(&[1; 32])).name("v1-aa"), Some(name.clone()));
        assert_ne!(names.name("v1-ab"), Some(name.clone()));
        assert_ne!(LogNames::new(None, Some(&[2; 32])).name("v1-aa"), Some(name));
        assert_eq!(LogNames::new(None, None).name("v1-aa"), None);
    }
}
