//! Ids of jobs: the digest that names their actor and 122 random bits, in `[a-z0-9-]`. So an id says by itself where its
//! job is, and tells nobody an address.

use super::random_id;

/// The version in an actor's name; the rest is the digest in hexadecimal digits.
const NAME_VERSION: &str = "v1-";

/// A new id for a job of the actor of this name.
pub fn fresh(actor: &str) -> String {
    compose(actor, &random_id())
}

fn compose(actor: &str, random: &str) -> String {
    let digest = actor.strip_prefix(NAME_VERSION).unwrap_or(actor);
    format!("{digest}-{random}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_fits_where_ids_are_kept() {
        let id = compose(&format!("v1-{}", "ab".repeat(32)), "9fac6da5-35a4-4b79-a12f-7bba88101788");
        assert_eq!(id, format!("{}-9fac6da5-35a4-4b79-a12f-7bba88101788", "ab".repeat(32)));
        assert!(id.len() <= actors::jobs::ID_BYTES_MAX);
        assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    }
}
