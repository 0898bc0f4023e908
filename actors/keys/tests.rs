use super::*;
use crate::sqlite::Sqlite;

const NOW_MS: i64 = 1_700_000_000_000;

fn opened() -> Sqlite {
    let mut sql = Sqlite::in_memory().unwrap();
    sql.execute(SCHEMA, &[]).unwrap();
    sql
}

fn new(id: &str) -> NewKey {
    NewKey {
        id: id.to_owned(),
        digest: format!("digest of {id}"),
        name: "server".to_owned(),
        expires_at_ms: None,
    }
}

#[test]
fn a_key_opens_until_it_is_revoked_and_never_again() {
    let mut sql = opened();
    create(&mut sql, &new("a"), NOW_MS).unwrap();
    assert_eq!(identify(&mut sql, "digest of a", NOW_MS).unwrap().id, "a");
    assert_eq!(identify(&mut sql, "digest of b", NOW_MS), Err(Refusal::UnknownApiKey));
    assert_eq!(identify(&mut sql, "a", NOW_MS), Err(Refusal::UnknownApiKey), "an id is no secret");
    let revoked = revoke(&mut sql, "a", NOW_MS + 1).unwrap();
    assert_eq!(revoked.revoked_at_ms, Some(NOW_MS + 1));
    assert_eq!(revoke(&mut sql, "a", NOW_MS + 2).unwrap(), revoked, "once more changes nothing");
    assert_eq!(identify(&mut sql, "digest of a", NOW_MS + 2), Err(Refusal::UnknownApiKey));
    assert_eq!(check(&mut sql, "a", NOW_MS + 2), Err(Refusal::UnknownApiKey));
    assert_eq!(revoke(&mut sql, "b", NOW_MS), Err(Refusal::UnknownApiKey));
}

#[test]
fn a_key_ends_at_its_time() {
    let mut sql = opened();
    let ending = NewKey { expires_at_ms: Some(NOW_MS + 10), ..new("a") };
    create(&mut sql, &ending, NOW_MS).unwrap();
    assert!(check(&mut sql, "a", NOW_MS + 9).is_ok());
    assert_eq!(check(&mut sql, "a", NOW_MS + 10), Err(Refusal::UnknownApiKey));
    let over = NewKey { expires_at_ms: Some(NOW_MS), ..new("b") };
    assert!(matches!(create(&mut sql, &over, NOW_MS), Err(Refusal::InvalidSetting { .. })));
}

#[test]
fn two_keys_are_never_one() {
    let mut sql = opened();
    create(&mut sql, &new("a"), NOW_MS).unwrap();
    assert!(create(&mut sql, &new("a"), NOW_MS).is_err());
    let same_secret = NewKey { digest: "digest of a".to_owned(), ..new("b") };
    assert!(create(&mut sql, &same_secret, NOW_MS).is_err());
}

#[test]
fn keys_are_bounded_and_the_dead_make_room() {
    let mut sql = opened();
    for n in 0..KEYS_LIVE_MAX {
        create(&mut sql, &new(&n.to_string()), NOW_MS).unwrap();
    }
    let limit = KEYS_LIVE_MAX;
    assert_eq!(create(&mut sql, &new("more"), NOW_MS), Err(Refusal::TooManyApiKeys { limit }));
    for n in 0..2 * KEYS_KEPT_MAX {
        let id = format!("later-{n}");
        let oldest = list(&mut sql).unwrap().into_iter().rev().find(|key| key.is_live(NOW_MS)).unwrap();
        revoke(&mut sql, &oldest.id, NOW_MS + 1).unwrap();
        create(&mut sql, &new(&id), NOW_MS + i64::from(n)).unwrap();
    }
    let kept = list(&mut sql).unwrap();
    assert!(kept.len() <= usize::try_from(KEYS_KEPT_MAX).unwrap() + 1, "{}", kept.len());
    assert_eq!(kept.iter().filter(|key| key.is_live(NOW_MS + 600)).count(), usize::try_from(limit).unwrap());
}

#[test]
fn use_is_noted_once_a_minute() {
    let mut sql = opened();
    let key = create(&mut sql, &new("a"), NOW_MS).unwrap();
    note_use(&mut sql, &key, NOW_MS).unwrap();
    let used = check(&mut sql, "a", NOW_MS).unwrap();
    assert_eq!(used.last_used_ms, Some(NOW_MS));
    note_use(&mut sql, &used, NOW_MS + LAST_USED_STEP_MS - 1).unwrap();
    assert_eq!(check(&mut sql, "a", NOW_MS).unwrap().last_used_ms, Some(NOW_MS));
    note_use(&mut sql, &used, NOW_MS + LAST_USED_STEP_MS).unwrap();
    assert_eq!(check(&mut sql, "a", NOW_MS).unwrap().last_used_ms, Some(NOW_MS + LAST_USED_STEP_MS));
}
