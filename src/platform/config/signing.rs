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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningProblem {
    Missing,
    Pkcs1,
    Encrypted,
    Garbage,
    Short,
}

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
    let (_label, pkcs8_der) = SecretDocument::from_pem(pem).map_err(|_| SigningProblem::Garbage)?;
    let key = RsaPrivateKey::from_pkcs8_der(pkcs8_der.as_bytes()).map_err(|_| SigningProblem::Garbage)?;
    if key.n().bits() < MODULUS_BITS_MIN {
        return Err(SigningProblem::Short);
    }
    Ok(SigningKey {
        pkcs8_der,
        modulus_b64: URL_SAFE_NO_PAD.encode(key.n().to_bytes_be()),
        exponent_b64: URL_SAFE_NO_PAD.encode(key.e().to_bytes_be()),
    })
}
