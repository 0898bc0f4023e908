//! Tokens: one that is taken is signed by our key and says what it must, by another library's judgement too.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cognomega::parsers::{Claims, TOKEN_BYTES_MAX, attach, compose, judge, take_apart};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::{Signature, SigningKey, VerifyingKey};
use rsa::rand_core::{CryptoRng, Error, RngCore, impls};
use rsa::signature::{Keypair, SignatureEncoding, Signer, Verifier};
use rsa::traits::PublicKeyParts;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

const ISSUER: &str = "https://api.cognomega.test";
const KID: &str = "k1";
const NOW_S: i64 = 1_800_000_000;
/// The shortest that has room for the digest and what stands around it: signing is slow, and not what is tried here.
const MODULUS_BITS: usize = 512;

/// The same digits in every run, so that the key is the same and what is kept stays a find.
struct Digits(u64);

impl RngCore for Digits {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        self.0 += 1;
        let digest = Sha256::digest(self.0.to_be_bytes());
        u64::from_be_bytes(digest[..8].try_into().unwrap_or_default())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        impls::fill_bytes_via_next(self, bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Digits {}

struct Keys {
    signing: SigningKey<Sha256>,
    verifying: VerifyingKey<Sha256>,
    decoding: DecodingKey,
    honest: String,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let private = RsaPrivateKey::new(&mut Digits(0), MODULUS_BITS).unwrap_or_else(|e| panic!("{e}"));
        let part = |number: &rsa::BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
        let decoding = DecodingKey::from_rsa_components(&part(private.n()), &part(private.e()));
        let signing = SigningKey::<Sha256>::new(private);
        let verifying = signing.verifying_key();
        let claims = Claims {
            iss: Some(ISSUER.to_owned()),
            sub: Some("guest:1".to_owned()),
            iat: Some(NOW_S),
            exp: Some(NOW_S + 60),
            ..Claims::default()
        };
        let signed = compose(KID, &claims).unwrap_or_default();
        let honest = attach(&signed, &signing.sign(signed.as_bytes()).to_vec());
        Keys { signing, verifying, decoding: decoding.unwrap_or_else(|e| panic!("{e}")), honest }
    })
}

pub fn run(data: &[u8]) {
    let keys = keys();
    let (mode, rest) = data.split_first().map_or((0, data), |(mode, rest)| (*mode % 4, rest));
    match mode {
        0 => judged(&crate::text(rest)),
        // A change of an honest token is no token.
        1 => {
            let Some(changed) = crate::edited(&keys.honest, rest) else { return };
            let accepted = judged(&changed);
            assert_eq!(accepted, changed == keys.honest, "{changed}");
            accepted
        }
        // Any header over honest claims, and any claims under an honest header, both signed by our key.
        2 => {
            let (_, claims) = halves(&keys.honest);
            judged(&signed(&format!("{}.{claims}", URL_SAFE_NO_PAD.encode(rest))))
        }
        _ => {
            let (header, _) = halves(&keys.honest);
            judged(&signed(&format!("{header}.{}", URL_SAFE_NO_PAD.encode(rest))))
        }
    };
}

fn halves(token: &str) -> (&str, &str) {
    let mut parts = token.split('.');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// `message` with our signature; with none where it would be refused for what it says, which saves the work.
fn signed(message: &str) -> String {
    let unsigned = format!("{message}.AAAA");
    if take_apart(&unsigned).is_err() {
        return unsigned;
    }
    attach(message, &keys().signing.sign(message.as_bytes()).to_vec())
}

/// Judges as the Worker does, with a signature check of another library, and holds what is accepted against the rules.
fn judged(token: &str) -> bool {
    let Ok(taken) = take_apart(token) else { return false };
    assert!(token.len() <= TOKEN_BYTES_MAX && token.split('.').count() == 3);
    assert_eq!(attach(&taken.signed, &taken.signature), token, "one token, one spelling");
    header_fits(&taken.signed, &taken.kid);
    let signature = Signature::try_from(taken.signature.as_slice());
    let ours =
        signature.is_ok_and(|signature| keys().verifying.verify(taken.signed.as_bytes(), &signature).is_ok());
    let accepted = ours && taken.kid == KID && judge(&taken.claims, ISSUER, NOW_S).is_ok();
    if accepted {
        other_library_agrees(token);
        claims_fit(&taken.signed);
    }
    accepted
}

fn members(part: &str) -> Map<String, Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn header_fits(signed: &str, kid: &str) {
    let header = members(halves(signed).0);
    assert_eq!(header.get("alg"), Some(&Value::from("RS256")));
    assert_eq!(header.get("kid"), Some(&Value::from(kid)));
    for forbidden in ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"] {
        assert!(!header.contains_key(forbidden), "{header:?}");
    }
}

fn claims_fit(signed: &str) {
    let claims = members(halves(signed).1);
    assert_eq!(claims.get("iss"), Some(&Value::from(ISSUER)));
    assert!(claims.get("exp").and_then(Value::as_i64).is_some_and(|exp| exp > NOW_S), "{claims:?}");
    for begins in ["nbf", "iat"] {
        let at = claims.get(begins).filter(|at| !at.is_null());
        assert!(at.is_none_or(|at| at.as_i64().is_some_and(|at| at <= NOW_S + 60)), "{claims:?}");
    }
}

/// Time aside, which that library asks the machine for.
fn other_library_agrees(token: &str) {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[ISSUER]);
    validation.validate_exp = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Value>(token, &keys().decoding, &validation);
    assert!(decoded.is_ok(), "{token}: {decoded:?}");
}
