//! API keys: what is taken for one is, letter by letter, what was made.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cognomega::parsers::{compose_api_key, digest_of_secret, present};
use sha2::{Digest, Sha256};

pub fn run(data: &[u8]) {
    let raw = crate::text(data);
    judged(&raw);
    judged(&format!("cog_{raw}"));
    // A right checksum is nothing to be guessed, so the rest of the input is a change to a real key, or is signed.
    let (seed, edits) = data.split_at(data.len().min(8));
    let actor = format!("v1-{:x}", Sha256::digest(seed));
    let key = compose_api_key(&actor, &Sha256::digest(edits).into())
        .unwrap_or_else(|| panic!("{actor} is an actor"));
    let presented = present(&key).unwrap_or_else(|| panic!("{key} was made"));
    assert_eq!(presented.actor, actor);
    assert_eq!(presented.digest, digest_of_secret(&Sha256::digest(edits)));
    if let Some(changed) = crate::edited(&key, edits) {
        assert!(changed == key || present(&changed).is_none(), "{changed} was not made");
    }
    judged(&format!("cog_{}", URL_SAFE_NO_PAD.encode(summed(data))));
}

/// With the checksum that bytes of any length would have.
fn summed(body: &[u8]) -> Vec<u8> {
    let sum = Sha256::new_with_prefix("cog_").chain_update(body).finalize();
    [body, &sum[..4]].concat()
}

fn judged(key: &str) {
    let Some(presented) = present(key) else { return };
    let bytes = URL_SAFE_NO_PAD.decode(&key[4..]).unwrap_or_default();
    assert_eq!(bytes.len(), 68, "{key}");
    let secret: [u8; 32] = bytes[32..64].try_into().unwrap_or_default();
    assert_eq!(compose_api_key(&presented.actor, &secret).as_deref(), Some(key), "one key, one spelling");
    assert_eq!(presented.digest, digest_of_secret(&secret));
}
