//! Ids of sessions: 128 random bits and a check that says whose they are to whoever knows that already. So an id routes
//! itself, tells nobody an address, cannot be guessed, and another tenant's is refused without a hop.

use actors::shared::TenantId;
use sha2::{Digest, Sha256};

const RANDOM_DIGITS: usize = 32;
const CHECK_DIGITS: usize = 16;

/// A new id for a session of `tenant`.
pub fn fresh(tenant: &TenantId, random: &[u8; 32]) -> String {
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).take(RANDOM_DIGITS / 2).collect();
    let check = check(tenant, &digits);
    digits + &check
}

/// Whether `id` is a session of that tenant, if there is one.
pub fn is_of(id: &str, tenant: &TenantId) -> bool {
    let parts = id.split_at_checked(RANDOM_DIGITS);
    parts.is_some_and(|(digits, given)| is_one(id) && given == check(tenant, digits))
}

/// Whether it has the form of one.
pub fn is_one(id: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    id.len() == RANDOM_DIGITS.saturating_add(CHECK_DIGITS) && id.bytes().all(digit)
}

fn check(tenant: &TenantId, digits: &str) -> String {
    let digest = Sha256::new_with_prefix(tenant.actor_name("voice")).chain_update(digits).finalize();
    let mut check = format!("{digest:x}");
    check.truncate(CHECK_DIGITS);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_one_tenant() {
        let (me, you) = (TenantId::from_email("me@x.io").unwrap(), TenantId::from_email("you@x.io").unwrap());
        let id = fresh(&me, &[7; 32]);
        assert!(is_of(&id, &me) && !is_of(&id, &you) && is_one(&id), "{id}");
        assert!(id.len() <= actors::voice::SESSION_BYTES_MAX && actors::voice::is_turn_id(&id));
        assert_ne!(id, fresh(&me, &[8; 32]));
        for other in ["", "é", &id[1..], &id.to_uppercase(), &format!("{id}0"), &"é".repeat(24)] {
            assert!(!is_one(other) && !is_of(other, &me), "{other}");
        }
    }
}
