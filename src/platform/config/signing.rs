//! The signing key: read from PEM, checked, and told what is wrong with it in words that tell the cure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, SecretDocument};
use rsa::traits::PublicKeyParts;

/// The shortest modulus that is accepted, in bits.
const MODULUS_BITS_MIN: usize = 2_048;

/// A usable key. No `Debug`: its bytes must not reach a log.
pub struct SigningKey {
    pub pkcs8_der: SecretDocument,
    /// Members of the public JWK, in base64url.
    pub modulus_b64: String,
    pub exponent_b64: String,
    /// What the key calls itself, in a line `kid: …` above the PEM. Key and name then change in one step.
    pub kid: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningProblem {
    Missing,
    Pkcs1,
    Encrypted,
    Garbage,
    Short,
    Name,
}

/// A key's name, in characters.
const KID_CHARS_MAX: usize = 64;

impl SigningProblem {
    /// Which mistake it is, and the command that mends it.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::Missing => {
                "PRIVATE_KEY_PEM is not set; make a key with: openssl genpkey -algorithm RSA -pkeyopt \
                 rsa_keygen_bits:2048"
            }
            Self::Pkcs1 => {
                "PRIVATE_KEY_PEM is a PKCS#1 key (BEGIN RSA PRIVATE KEY); turn it into PKCS#8 with: openssl \
                 pkcs8 -topk8 -nocrypt -in key.pem"
            }
            Self::Encrypted => {
                "PRIVATE_KEY_PEM is encrypted; take the password off with: openssl pkcs8 -topk8 -nocrypt -in \
                 key.pem"
            }
            Self::Garbage => {
                "PRIVATE_KEY_PEM is not a PKCS#8 RSA key (BEGIN PRIVATE KEY); make one with: openssl genpkey \
                 -algorithm RSA -pkeyopt rsa_keygen_bits:2048"
            }
            Self::Short => {
                "PRIVATE_KEY_PEM has fewer than 2048 bits; make one with: openssl genpkey -algorithm RSA \
                 -pkeyopt rsa_keygen_bits:2048"
            }
            Self::Name => {
                "the line `kid:` above PRIVATE_KEY_PEM is no name: give 1 to 64 letters, digits, `.`, `_` or `-`, or \
                 make a key with: make keys"
            }
        }
    }
}

pub(super) fn read(pem: Option<&str>) -> Result<SigningKey, SigningProblem> {
    // Dashboards and env files often keep a PEM on one line, its line ends written as `\n`.
    let pem = pem.ok_or(SigningProblem::Missing)?.replace("\\n", "\n");
    let pem = pem.trim();
    if pem.contains("BEGIN RSA PRIVATE KEY") {
        return Err(SigningProblem::Pkcs1);
    }
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        return Err(SigningProblem::Encrypted);
    }
    let kid = name(pem)?;
    let (_label, pkcs8_der) = SecretDocument::from_pem(pem).map_err(|_| SigningProblem::Garbage)?;
    let key = RsaPrivateKey::from_pkcs8_der(pkcs8_der.as_bytes()).map_err(|_| SigningProblem::Garbage)?;
    if key.n().bits() < MODULUS_BITS_MIN {
        return Err(SigningProblem::Short);
    }
    Ok(SigningKey {
        pkcs8_der,
        modulus_b64: URL_SAFE_NO_PAD.encode(key.n().to_bytes_be()),
        exponent_b64: URL_SAFE_NO_PAD.encode(key.e().to_bytes_be()),
        kid,
    })
}

/// The name in the text above the PEM, where its format allows any.
fn name(pem: &str) -> Result<Option<String>, SigningProblem> {
    let above = pem.split("-----BEGIN").next().unwrap_or_default();
    let mut named = above.lines().filter_map(|line| line.trim().strip_prefix("kid:")).map(str::trim);
    let Some(kid) = named.next() else {
        return Ok(None);
    };
    let plain = kid.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let good = plain && !kid.is_empty() && kid.len() <= KID_CHARS_MAX && named.next().is_none();
    if good { Ok(Some(kid.to_owned())) } else { Err(SigningProblem::Name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_bring_its_name() {
        let pem = "-----BEGIN PRIVATE KEY-----";
        assert_eq!(name(pem), Ok(None));
        assert_eq!(name(&format!("kid: k-2026.1\n{pem}")), Ok(Some("k-2026.1".to_owned())));
        assert_eq!(name(&format!("made by hand\nkid:k2\n\n{pem}")), Ok(Some("k2".to_owned())));
        for bad in ["kid:", "kid: a b", "kid: a\nkid: b", "kid: ä"] {
            assert_eq!(name(&format!("{bad}\n{pem}")), Err(SigningProblem::Name), "{bad}");
        }
        assert_eq!(name(&format!("kid: {}\n{pem}", "k".repeat(65))), Err(SigningProblem::Name));
    }
}
