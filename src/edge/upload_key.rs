//! The key of an uploaded object: when it came, whose it is, and what its client calls it.
//!
//! `uploads/YYYY/MM/DD/<identity>/<id>-<name>`. The identity is a part of the tenant's digest, so no personal data is in
//! a key but what the client itself put into the name. Whose an object is, is not believed of its key alone: the object
//! bears the whole digest.

use actors::shared::{FILE_NAME_BYTES_MAX, TenantId, safe_file_name};

use super::moment::iso_time;

/// The kind in the digest that an object bears of its tenant.
const KIND: &str = "upload";
const FOLDER: &str = "uploads";
/// Half of a digest is plenty to tell tenants apart, behind the three characters of its version.
const IDENTITY_BYTES: usize = 35;
/// An id as it is written, with hyphens.
const ID_BYTES: usize = 36;
/// The longest key, in bytes: the folder and the day, the identity, the id, the name, and the marks between them. The
/// store takes 1,024.
pub const KEY_BYTES_MAX: usize = 19 + IDENTITY_BYTES + 1 + ID_BYTES + 1 + FILE_NAME_BYTES_MAX;

/// What an object bears of its tenant: a digest, from which nobody gets back to the address.
pub fn owner(tenant: &TenantId) -> String {
    tenant.actor_name(KIND)
}

fn identity(tenant: &TenantId) -> String {
    let mut identity = owner(tenant);
    identity.truncate(IDENTITY_BYTES);
    identity
}

/// The key of a new object. `id` is random, so nothing is ever written twice under one key.
pub fn compose(tenant: &TenantId, id: &str, file_name: &str, now_ms: i64) -> String {
    let time = iso_time(now_ms);
    let day = time.get(..10).unwrap_or("1970-01-01").replace('-', "/");
    format!("{FOLDER}/{day}/{}/{id}-{}", identity(tenant), safe_file_name(file_name))
}

/// The name in a key that could be one of `tenant`'s objects; `None` for anything else.
pub fn name_in<'a>(tenant: &TenantId, key: &'a str) -> Option<&'a str> {
    if key.len() > KEY_BYTES_MAX {
        return None;
    }
    let mut parts = key.split('/');
    let day = [(FOLDER, 0), ("", 4), ("", 2), ("", 2)];
    for (word, digits) in day {
        let part = parts.next()?;
        let fits = if digits == 0 {
            part == word
        } else {
            part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !fits {
            return None;
        }
    }
    let (whose, last) = (parts.next()?, parts.next()?);
    if whose != identity(tenant) || parts.next().is_some() {
        return None;
    }
    let (id, name) = (last.get(..ID_BYTES)?, last.get(ID_BYTES..)?.strip_prefix('-')?);
    (uuid::Uuid::try_parse(id).is_ok() && safe_file_name(name) == name).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "7f0c1e0a-0000-4000-8000-000000000000";
    /// 2026-11-30 12:00:00 UTC.
    const NOW_MS: i64 = 1_796_040_000_000;

    fn me() -> TenantId {
        TenantId::from_email("me@x.io").unwrap()
    }

    #[test]
    fn a_key_says_day_tenant_and_name_and_no_address() {
        let key = compose(&me(), ID, "My report.pdf", NOW_MS);
        let expected = format!("uploads/2026/11/30/{}/{ID}-My_report.pdf", identity(&me()));
        assert_eq!(key, expected);
        assert!(!key.contains("me@") && identity(&me()).len() == IDENTITY_BYTES);
        assert_eq!(name_in(&me(), &key), Some("My_report.pdf"));
        assert!(owner(&me()).starts_with(&identity(&me())));
    }

    #[test]
    fn another_tenants_key_is_none_and_a_guest_is_another_tenant() {
        let key = compose(&me(), ID, "a", NOW_MS);
        for other in [TenantId::from_email("you@x.io").unwrap(), TenantId::Guest("me@x.io".to_owned())] {
            assert_eq!(name_in(&other, &key), None);
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        let key = compose(&me(), ID, "a.txt", NOW_MS);
        let changed = [
            String::new(),
            "uploads/".to_owned(),
            format!("/{key}"),
            format!("{key}/"),
            format!("{key}/b"),
            key.replace("uploads", "Uploads"),
            key.replace("2026", "226"),
            key.replace("/11/", "/../"),
            key.replace("a.txt", ""),
            key.replace("a.txt", "../a.txt"),
            key.replace("a.txt", "a..txt"),
            key.replace(ID, &ID.replace('-', "")),
            key.replace(ID, "7f0c1e0a-0000-4000-8000-00000000000x"),
            key.replace("a.txt", &"a".repeat(FILE_NAME_BYTES_MAX + 1)),
            format!("{key}é"),
        ];
        for key in changed {
            assert_eq!(name_in(&me(), &key), None, "{key}");
        }
    }

    proptest! {
        /// Whatever a client calls its file: a key of the one form, which is bounded and read back.
        #[test]
        fn every_name_gives_a_key(name in any::<String>(), now_ms in 0_i64..4_102_444_800_000) {
            let key = compose(&me(), ID, &name, now_ms);
            prop_assert!(key.len() <= KEY_BYTES_MAX, "{}", key.len());
            prop_assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)), "{key}");
            prop_assert!(!key.contains("..") && key.split('/').count() == 6, "{key}");
            prop_assert_eq!(name_in(&me(), &key), Some(&*safe_file_name(&name)));
        }

        #[test]
        fn no_text_at_all_is_too_much(key in any::<String>()) {
            let _none_or_a_name = name_in(&me(), &key);
        }
    }
}
