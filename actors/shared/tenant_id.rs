//! Who a tenant is. An identity has one canonical form, and an actor's name is a digest of it, so that no
//! personal data is in a name and a guest can never be somebody's e-mail.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The longest address a mail server accepts (RFC 5321 path, without its brackets).
pub const EMAIL_BYTES_MAX: usize = 254;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantId {
    /// A canonical e-mail address.
    Email(String),
    /// The subject of a guest token that this system signed.
    Guest(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an e-mail address this system accepts")]
pub struct InvalidEmail;

impl TenantId {
    /// Trims and lower-cases; accepts ASCII with one `@`, an RFC 5322 dot-atom before it and host labels
    /// after it. Tags (`+x`) and dots are kept: they are different mailboxes to some servers.
    ///
    /// # Errors
    /// [`InvalidEmail`] for anything else.
    pub fn from_email(raw: &str) -> Result<Self, InvalidEmail> {
        let email = raw.trim_matches([' ', '\t']);
        if email.len() > EMAIL_BYTES_MAX || !email.is_ascii() {
            return Err(InvalidEmail);
        }
        let (local, domain) = email.split_once('@').ok_or(InvalidEmail)?;
        let local_fits = local.len() <= 64 && local.split('.').all(is_atom);
        let domain_fits = domain.split('.').all(is_host_label);
        if !(local_fits && domain_fits) {
            return Err(InvalidEmail);
        }
        Ok(Self::Email(email.to_ascii_lowercase()))
    }

    /// What responses call `email`: the address, or the guest's subject.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Email(email) => email,
            Self::Guest(subject) => subject,
        }
    }

    #[must_use]
    pub const fn is_guest(&self) -> bool {
        matches!(self, Self::Guest(_))
    }

    /// The name of this tenant's actor of `kind`: 64 hexadecimal digits behind a version.
    #[must_use]
    pub fn actor_name(&self, kind: &str) -> String {
        let (class, value) = match self {
            Self::Email(email) => ("email", email),
            Self::Guest(subject) => ("guest", subject),
        };
        let mut digest = Sha256::new();
        for part in [kind, class, value.as_str()] {
            // Lengths keep the parts apart: no two identities make the same bytes.
            digest.update(part.len().to_string());
            digest.update(":");
            digest.update(part);
        }
        format!("v1-{:x}", digest.finalize())
    }
}

fn is_atom(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_and_outer_space_do_not_make_another_tenant() {
        let plain = TenantId::from_email("victim@x.io").unwrap();
        assert_eq!(TenantId::from_email("  VICTIM@X.IO ").unwrap(), plain);
        assert_ne!(TenantId::from_email("victim+a@x.io").unwrap(), plain);
    }

    #[test]
    fn odd_addresses_are_refused() {
        let long = format!("{}@x.io", "a".repeat(5_000));
        for raw in [
            "",
            "@",
            "a@",
            "@x.io",
            "a b@x.io",
            "a,b@x.io",
            "vıctim@x.io",
            "a@@x.io",
            "a@x@y.io",
            "a\0@x.io",
            "a\r\nb@x.io",
            ".a@x.io",
            "a..b@x.io",
            "a@-x.io",
            "a@x..io",
            "<a@x.io>",
            "\"a\"@x.io",
            &long,
        ] {
            assert_eq!(TenantId::from_email(raw), Err(InvalidEmail), "{raw:?}");
        }
    }

    #[test]
    fn an_address_is_as_long_as_mail_allows() {
        let address = |last: usize| {
            let label = |bytes| "d".repeat(bytes);
            format!("{}@{}.{}.{}", "a".repeat(64), label(63), label(63), label(last))
        };
        assert_eq!(address(61).len(), EMAIL_BYTES_MAX);
        assert!(TenantId::from_email(&address(61)).is_ok());
        assert_eq!(TenantId::from_email(&address(62)), Err(InvalidEmail));
        assert_eq!(TenantId::from_email(&format!("{}@x.io", "a".repeat(65))), Err(InvalidEmail));
        assert_eq!(TenantId::from_email(&format!("a@{}.io", "d".repeat(64))), Err(InvalidEmail));
    }

    #[test]
    fn a_tenant_is_shown_by_its_address_or_its_subject() {
        assert_eq!(TenantId::from_email("Me+x@X.io").unwrap().label(), "me+x@x.io");
        assert_eq!(TenantId::Guest("guest:1".to_owned()).label(), "guest:1");
    }

    #[test]
    fn a_guest_is_never_an_email() {
        let email = TenantId::from_email("victim@x.io").unwrap();
        let guest = TenantId::Guest("victim@x.io".to_owned());
        assert_ne!(email.actor_name("tenant"), guest.actor_name("tenant"));
        assert_ne!(email.actor_name("tenant"), email.actor_name("voice"));
    }

    proptest! {
        #[test]
        fn accepted_addresses_are_their_own_canonical_form(raw in "\\PC{0,40}@\\PC{0,40}") {
            if let Ok(tenant) = TenantId::from_email(&raw) {
                prop_assert_eq!(TenantId::from_email(tenant.label()), Ok(tenant.clone()));
                prop_assert!(tenant.label().bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
