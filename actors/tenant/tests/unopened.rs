//! An actor that was never opened answers like one that was.

use super::*;
use crate::credits::{HoldState, UsageFilter};

fn ask(tenant: &TenantId, command: Command) -> Result<Option<Reply>, Refusal> {
    unopened(&Call { tenant: tenant.clone(), api_key: None, request_id: None, command }, &policy(), NOW_MS)
}

fn questions() -> Vec<Command> {
    vec![
        Command::Balance,
        Command::ListUsage(UsageFilter { limit: 5, ..UsageFilter::default() }),
        Command::ListEntries { limit: 5, cursor: None },
        Command::ListHolds { state: HoldState::Open, limit: 5, cursor: None },
        Command::ListNotices { limit: 5, cursor: None },
        Command::ListKeys,
        Command::Limits,
        Command::Verify { from: 0, limit: 5 },
    ]
}

#[test]
fn questions_make_no_database_and_get_the_same_answers() {
    for tenant in [guest(), me()] {
        let mut opened = Shell::new(&tenant);
        for question in questions() {
            let before = ask(&tenant, question.clone()).unwrap().expect("a question");
            let after = opened.run(question, NOW_MS).unwrap().reply;
            let (mut before, mut after) = (serde_json::json!(before), serde_json::json!(after));
            // Opening writes the grant: its entry is in the ledger, and its number is taken.
            if tenant.is_guest() {
                for reply in [&mut before, &mut after] {
                    for told in ["/balance/head", "/balance/next_seq", "/entries", "/verified"] {
                        if let Some(value) = reply.pointer_mut(told) {
                            *value = serde_json::Value::Null;
                        }
                    }
                }
            }
            assert_eq!(before, after, "{tenant:?}");
        }
    }
}

#[test]
fn a_guest_sees_the_grant_it_will_have() {
    let Some(Reply::Balance(account)) = ask(&guest(), Command::Balance).unwrap() else {
        panic!("no balance")
    };
    assert_eq!(
        (account.available, account.granted, account.live_grants().count()),
        (GUEST_GRANT, GUEST_GRANT, 1)
    );
    let Some(Reply::Verified(found)) = ask(&guest(), Command::Verify { from: 0, limit: 5 }).unwrap() else {
        panic!("no audit");
    };
    assert_eq!((found.last_hash, found.complete, found.entries), (genesis(&guest()), true, 0));
}

#[test]
fn no_list_has_made_a_cursor_and_no_entry_is_known() {
    let cursor = || Some("1-1-x".to_owned());
    for question in [
        Command::ListUsage(UsageFilter { limit: 5, cursor: cursor(), since_ms: None }),
        Command::ListEntries { limit: 5, cursor: cursor() },
        Command::ListHolds { state: HoldState::Expired, limit: 5, cursor: cursor() },
        Command::ListNotices { limit: 5, cursor: cursor() },
    ] {
        assert!(matches!(ask(&me(), question), Err(Refusal::InvalidCursor)));
    }
    for question in [Command::BalanceAt { entry: 1 }, Command::Verify { from: 1, limit: 5 }] {
        assert!(matches!(ask(&me(), question), Err(Refusal::UnknownEntry)));
    }
}

#[test]
fn changes_open_the_actor_unless_its_first_credit_cannot_do() {
    assert!(ask(&me(), set(5)).unwrap().is_none());
    assert!(ask(&guest(), admit("h", GUEST_GRANT.0, None)).unwrap().is_none(), "this one opens it");
    let refused = ask(&guest(), admit("h", GUEST_GRANT.0 + 1, None));
    let Err(Refusal::InsufficientCredits { available, needed, updated_at_ms }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((available, needed, updated_at_ms), (GUEST_GRANT, Micro(GUEST_GRANT.0 + 1), NOW_MS));
    assert!(ask(&me(), admit("h", 0, None)).unwrap().is_none(), "what costs nothing needs nothing");
    assert!(matches!(ask(&me(), admit("h", 1, None)), Err(Refusal::InsufficientCredits { .. })));
}

#[test]
fn where_nothing_was_done_there_is_no_key_to_know_or_to_revoke() {
    for command in [Command::Identify { digest: "d".to_owned() }, Command::RevokeKey { id: "k".to_owned() }] {
        assert_eq!(ask(&me(), command).unwrap_err(), Refusal::UnknownApiKey);
    }
}
