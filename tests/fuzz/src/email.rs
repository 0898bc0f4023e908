//! Addresses: one canonical form, which is its own.

use actors::shared::{EMAIL_BYTES_MAX, TenantId};

pub fn run(data: &[u8]) {
    let raw = crate::text(data);
    let found = TenantId::from_email(&raw);
    assert_eq!(found.is_ok(), is_address(&raw), "{raw:?}");
    let Ok(tenant) = found else { return };
    let address = tenant.label();
    assert_eq!(address, raw.trim_matches([' ', '\t']).to_lowercase());
    assert_eq!(TenantId::from_email(address).as_ref(), Ok(&tenant), "normal twice is normal once");
    let guest = TenantId::Guest(address.to_owned());
    assert_ne!(guest.actor_name("tenant"), tenant.actor_name("tenant"));
    assert!(!tenant.actor_name("tenant").contains(address) || address.len() < 6);
}

/// The rule of `security.md` once more, by letters instead of by parts.
fn is_address(raw: &str) -> bool {
    let raw = raw.trim_matches([' ', '\t']);
    if raw.len() > EMAIL_BYTES_MAX || raw.bytes().filter(|b| *b == b'@').count() != 1 {
        return false;
    }
    let at = raw.find('@').unwrap_or_default();
    let (local, domain) = (&raw[..at], &raw[at + 1..]);
    let dots =
        |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with('.') || part.contains("..");
    let local_letters = |b: u8| b.is_ascii_graphic() && !b"()<>[]:;@\\,\"".contains(&b);
    let domain_letters = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    local.len() <= 64
        && !dots(local)
        && !dots(domain)
        && local.bytes().all(local_letters)
        && domain.bytes().all(domain_letters)
        && !format!(".{domain}.").contains(".-")
        && !format!(".{domain}.").contains("-.")
        && domain.split('.').map(str::len).max().unwrap_or_default() <= 63
}
