use serde_json::json;

use super::*;
use crate::sqlite::Sqlite;

const NOW_MS: i64 = 1_700_000_000_000;

fn me() -> TenantId {
    TenantId::Email("me@x.io".to_owned())
}

fn at_once(sql: &mut Sqlite, count: u32, now_ms: i64) {
    for n in 0..count {
        open(sql, &format!("s{now_ms}-{n}"), None, now_ms).unwrap();
    }
}

#[test]
fn as_many_are_open_as_may_be_and_each_end_makes_room() {
    let mut sql = Sqlite::in_memory().unwrap();
    at_once(&mut sql, SESSIONS_OPEN_MAX, NOW_MS);
    let full = Refusal::TooManyVoiceSessions { limit: SESSIONS_OPEN_MAX };
    assert_eq!(open(&mut sql, "more", None, NOW_MS), Err(full.clone()));
    ended(&mut sql, &format!("s{NOW_MS}-3"), NOW_MS + 5).unwrap();
    ended(&mut sql, &format!("s{NOW_MS}-3"), NOW_MS + 9).unwrap();
    open(&mut sql, "more", Some("k1"), NOW_MS + 6).unwrap();
    assert_eq!(open(&mut sql, "again", None, NOW_MS + 6), Err(full));
    // Of the others nobody ever heard again.
    open(&mut sql, "late", None, NOW_MS + SLOT_MS).unwrap();
    let page = list(&mut sql, &me(), 100, None, NOW_MS + SLOT_MS).unwrap();
    let open: Vec<&str> = page
        .items
        .iter()
        .filter(|listed| listed.ended_at_ms.is_none())
        .map(|listed| listed.session.as_str())
        .collect();
    assert_eq!(open, ["late", "more"]);
    let third = page.items.iter().find(|listed| listed.session.ends_with("-3")).unwrap();
    assert_eq!(third.ended_at_ms, Some(NOW_MS + 5), "the first word counts");
    assert_eq!(super::open(&mut sql, "more", None, NOW_MS + 7), Err(Refusal::DuplicateOperation));
}

#[test]
fn the_list_has_pages_and_a_bound() {
    let mut sql = Sqlite::in_memory().unwrap();
    assert_eq!(list(&mut sql, &me(), 5, None, NOW_MS).unwrap(), Page::default());
    for n in 0..SESSIONS_KEPT_MAX + 50 {
        open(&mut sql, &format!("n{n}"), None, NOW_MS + n).unwrap();
        ended(&mut sql, &format!("n{n}"), NOW_MS + n).unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = list(&mut sql, &me(), 100, cursor.as_deref(), NOW_MS + 2_000).unwrap();
        seen.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let count = i64::try_from(seen.len()).unwrap();
    assert!((SESSIONS_KEPT_MAX..=SESSIONS_KEPT_MAX + 1).contains(&count), "{count}");
    assert!(seen.is_sorted_by(|a, b| a.n > b.n));
    open(&mut sql, "after", None, NOW_MS + RETENTION_MS + 5_000).unwrap();
    assert_eq!(list(&mut sql, &me(), 100, None, NOW_MS).unwrap().items.len(), 1);
    let cursor = Cursor { at_ms: 1, seq: 1 }.encode("another list", &me());
    assert_eq!(list(&mut sql, &me(), 5, Some(&cursor), NOW_MS), Err(Refusal::InvalidCursor));
}

#[test]
fn what_a_tenant_likes_is_kept_within_a_bound() {
    let mut sql = Sqlite::in_memory().unwrap();
    assert_eq!(prefs(&mut sql).unwrap(), json!({}));
    set_prefs(&mut sql, &json!({"voice": "luna"})).unwrap();
    set_prefs(&mut sql, &json!({"voice": "sol", "speed": 1.5})).unwrap();
    assert_eq!(prefs(&mut sql).unwrap(), json!({"voice": "sol", "speed": 1.5}));
    for wrong in [json!(7), json!({"voice": "x".repeat(PREFS_BYTES_MAX)})] {
        assert!(matches!(set_prefs(&mut sql, &wrong), Err(Refusal::InvalidSetting { .. })), "{wrong}");
    }
}
