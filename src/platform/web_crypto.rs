//! RS256 with the runtime's own cryptography: the private key is imported once, cannot be taken out again,
//! and signing leaves no timing of ours for the network to measure.

use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use super::task::settled;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(thread_local_v2, js_namespace = crypto, js_name = subtle)]
    static SUBTLE: SubtleCrypto;

    type SubtleCrypto;

    #[wasm_bindgen(method, catch, js_name = importKey)]
    fn import_key(
        this: &SubtleCrypto,
        format: &str,
        key_data: &JsValue,
        algorithm: &Object,
        extractable: bool,
        usages: &js_sys::Array,
    ) -> Result<js_sys::Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn sign(
        this: &SubtleCrypto,
        algorithm: &str,
        key: &CryptoKey,
        data: &Uint8Array,
    ) -> Result<js_sys::Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn verify(
        this: &SubtleCrypto,
        algorithm: &str,
        key: &CryptoKey,
        signature: &Uint8Array,
        data: &Uint8Array,
    ) -> Result<js_sys::Promise, JsValue>;

    /// A key inside the runtime.
    #[derive(Clone)]
    pub type CryptoKey;
}

const RS256: &str = "RSASSA-PKCS1-v1_5";

/// The runtime refused a key or an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CryptoFailed;

/// Imports a private key from PKCS#8 DER, for signing only.
///
/// # Errors
/// [`CryptoFailed`] when the bytes are no RSA key.
pub async fn import_private(pkcs8_der: &[u8]) -> Result<CryptoKey, CryptoFailed> {
    let data: JsValue = Uint8Array::from(pkcs8_der).into();
    import("pkcs8", &data, "sign").await
}

/// Imports a public key from the members of its JWK, for verifying only.
///
/// # Errors
/// [`CryptoFailed`] when the members are no RSA key.
pub async fn import_public(modulus_b64: &str, exponent_b64: &str) -> Result<CryptoKey, CryptoFailed> {
    let jwk = object(&[("kty", "RSA"), ("n", modulus_b64), ("e", exponent_b64)])?;
    import("jwk", &jwk.into(), "verify").await
}

/// Signs with RS256.
///
/// # Errors
/// [`CryptoFailed`] when the runtime refuses.
pub async fn sign(key: &CryptoKey, message: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
    let promise = SUBTLE
        .with(|subtle| subtle.sign(RS256, key, &Uint8Array::from(message)))
        .map_err(|_| CryptoFailed)?;
    let signature = settled(&promise).await.map_err(|_| CryptoFailed)?;
    Ok(Uint8Array::new(&signature).to_vec())
}

/// Whether `signature` is this key's RS256 signature of `message`.
///
/// # Errors
/// [`CryptoFailed`] when the runtime refuses.
pub async fn verify(key: &CryptoKey, message: &[u8], signature: &[u8]) -> Result<bool, CryptoFailed> {
    let promise = SUBTLE
        .with(|subtle| subtle.verify(RS256, key, &Uint8Array::from(signature), &Uint8Array::from(message)))
        .map_err(|_| CryptoFailed)?;
    let verdict = settled(&promise).await.map_err(|_| CryptoFailed)?;
    Ok(verdict.is_truthy())
}

async fn import(format: &str, data: &JsValue, usage: &str) -> Result<CryptoKey, CryptoFailed> {
    let algorithm = object(&[("name", RS256), ("hash", "SHA-256")])?;
    let usages = js_sys::Array::of1(&JsValue::from_str(usage));
    let promise = SUBTLE
        .with(|subtle| subtle.import_key(format, data, &algorithm, false, &usages))
        .map_err(|_| CryptoFailed)?;
    let key = settled(&promise).await.map_err(|_| CryptoFailed)?;
    Ok(key.unchecked_into())
}

fn object(members: &[(&str, &str)]) -> Result<Object, CryptoFailed> {
    let object = Object::new();
    for (name, value) in members {
        Reflect::set(&object, &JsValue::from_str(name), &JsValue::from_str(value))
            .map_err(|_| CryptoFailed)?;
    }
    Ok(object)
}
