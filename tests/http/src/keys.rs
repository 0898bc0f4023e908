//! RSA keys made for one test run: the Worker's own and a stranger's.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::rand_core::OsRng;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{RsaPrivateKey, RsaPublicKey};
use serde_json::{Value, json};
use std::sync::OnceLock;

const MODULUS_BITS: usize = 2048;

/// One RSA key pair in the forms the tests need.
pub struct KeyPair {
    private: RsaPrivateKey,
}

/// The pair whose private half is the Worker's `PRIVATE_KEY_PEM`.
pub fn worker() -> &'static KeyPair {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    PAIR.get_or_init(KeyPair::generate)
}

/// A pair the Worker has never seen.
pub fn foreign() -> &'static KeyPair {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    PAIR.get_or_init(KeyPair::generate)
}

impl KeyPair {
    /// A pair of the test's own.
    pub fn generate() -> Self {
        let private = RsaPrivateKey::new(&mut OsRng, MODULUS_BITS).expect("an RSA key");
        Self { private }
    }

    /// `BEGIN PRIVATE KEY`, what the Worker wants.
    pub fn pkcs8_pem(&self) -> String {
        self.private.to_pkcs8_pem(LineEnding::LF).expect("a PKCS#8 form").to_string()
    }

    /// `BEGIN RSA PRIVATE KEY`, what people have by mistake.
    pub fn pkcs1_pem(&self) -> String {
        self.private.to_pkcs1_pem(LineEnding::LF).expect("a PKCS#1 form").to_string()
    }

    /// `BEGIN PUBLIC KEY`, for the forgery that uses it as an HMAC secret.
    pub fn public_pem(&self) -> String {
        RsaPublicKey::from(&self.private).to_public_key_pem(LineEnding::LF).expect("a public form")
    }

    /// The public half as a member of a key set.
    pub fn public_jwk(&self, kid: &str) -> Value {
        let part = |number: &rsa::BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
        let (modulus, exponent) = (part(self.private.n()), part(self.private.e()));
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": modulus, "e": exponent})
    }

    /// The whole pair as a member of a key set: what nobody should publish, and somebody will.
    pub fn private_jwk(&self, kid: &str) -> Value {
        let part = |number: &rsa::BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
        let mut jwk = self.public_jwk(kid);
        let primes = self.private.primes();
        for (name, number) in [("d", Some(self.private.d())), ("p", primes.first()), ("q", primes.get(1))] {
            jwk[name] = number.map(part).into();
        }
        jwk
    }

    pub fn signing_key(&self) -> EncodingKey {
        EncodingKey::from_rsa_pem(self.pkcs8_pem().as_bytes()).expect("a signing key")
    }
}
