//! API keys in an actor's life: who is meant, what a key may spend, and that the end of a key is at once.

use super::*;
use crate::credits::caps::CapTerms;
use crate::keys::{ApiKey, NewKey};
use crate::shared::Period;
use crate::tenant::KeyCap;

fn new(id: &str) -> NewKey {
    NewKey {
        id: id.to_owned(),
        digest: format!("digest of {id}"),
        name: "server".to_owned(),
        expires_at_ms: None,
    }
}

fn create(shell: &mut Shell, id: &str, limit: Option<i64>) -> ApiKey {
    let cap = limit.map(|limit| KeyCap { period: Period::Day, limit: Micro(limit) });
    match shell.run(Command::CreateKey { key: new(id), cap, idempotency: None }, NOW_MS).unwrap().reply {
        Reply::Key(key) => key,
        other => panic!("{other:?}"),
    }
}

fn revoke(shell: &mut Shell, id: &str) {
    shell.run(Command::RevokeKey { id: id.to_owned() }, NOW_MS).unwrap();
}

/// A command that came with the key `id`.
fn by_key(shell: &mut Shell, id: &str, command: Command, now_ms: i64) -> Result<Reply, Refusal> {
    let call =
        Call { tenant: shell.actor.tenant.clone(), api_key: Some(id.to_owned()), request_id: None, command };
    let (sql, actor, policy) = (&mut shell.sql, &shell.actor, &shell.policy);
    sql.transaction(|sql| handle(sql, actor, policy, call, now_ms)).map(|outcome| outcome.reply)
}

fn ask(id: &str, key: &str, amount: i64) -> Command {
    let mut asked = request(id, amount);
    asked.owner.api_key = Some(key.to_owned());
    Command::Admit(Box::new(asked))
}

#[test]
fn a_key_is_made_once_for_one_idempotency_key() {
    let mut shell = Shell::with_balance(1_000);
    let make = |shell: &mut Shell, id: &str, body: &str, now_ms| {
        let idempotency = Some(Idempotency { key: "tenant:k".to_owned(), body_hash: body.to_owned() });
        let cap = Some(KeyCap { period: Period::Day, limit: Micro(5) });
        shell.run(Command::CreateKey { key: new(id), cap, idempotency }, now_ms)
    };
    let made = make(&mut shell, "a", "one", NOW_MS).unwrap();
    let Reply::Key(first) = made.reply else { panic!("{:?}", made.reply) };
    let due_ms = NOW_MS + KEY_TTL_MS;
    assert_eq!(made.effects, [Effect::WakeBy { at_ms: due_ms }], "it is forgotten in time");
    let again = make(&mut shell, "b", "one", NOW_MS + 5).unwrap();
    assert!(matches!(&again.reply, Reply::KeyAgain(key) if *key == first), "{:?}", again.reply);
    assert_eq!(make(&mut shell, "b", "other", NOW_MS + 5).unwrap_err(), Refusal::IdempotencyConflict);
    let keys = |shell: &mut Shell| match shell.run(Command::ListKeys, NOW_MS).unwrap().reply {
        Reply::Keys(keys) => keys.into_iter().map(|key| key.id).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(keys(&mut shell), ["a"]);
    assert!(matches!(make(&mut shell, "b", "other", due_ms).unwrap().reply, Reply::Key(_)));
    assert_eq!(keys(&mut shell).len(), 2);
}

#[test]
fn an_actor_says_whose_it_is_to_who_has_a_live_key() {
    let mut shell = Shell::with_balance(1_000);
    create(&mut shell, "a", None);
    let identify = |shell: &mut Shell, digest: &str| {
        let command = Command::Identify { digest: digest.to_owned() };
        // Whoever asks knows no tenant.
        let call = Call { tenant: TenantId::Guest(String::new()), api_key: None, request_id: None, command };
        let (sql, actor, policy) = (&mut shell.sql, &shell.actor, &shell.policy);
        sql.transaction(|sql| handle(sql, actor, policy, call, NOW_MS)).map(|outcome| outcome.reply)
    };
    match identify(&mut shell, "digest of a").unwrap() {
        Reply::Identified { tenant, key } => assert_eq!((tenant, key.id.as_str()), (me(), "a")),
        other => panic!("{other:?}"),
    }
    assert_eq!(identify(&mut shell, "digest of b").unwrap_err(), Refusal::UnknownApiKey);
    revoke(&mut shell, "a");
    assert_eq!(identify(&mut shell, "digest of a").unwrap_err(), Refusal::UnknownApiKey);
}

#[test]
fn a_revoked_key_begins_nothing_and_what_it_began_ends_as_it_was_meant() {
    let mut shell = Shell::with_balance(1_000);
    create(&mut shell, "a", None);
    by_key(&mut shell, "a", ask("h", "a", 400), NOW_MS).unwrap();
    revoke(&mut shell, "a");
    for command in [ask("h2", "a", 100), Command::Balance, Command::ListKeys] {
        assert_eq!(by_key(&mut shell, "a", command, NOW_MS).unwrap_err(), Refusal::UnknownApiKey);
    }
    assert!(matches!(by_key(&mut shell, "a", settle("h", 300), NOW_MS), Ok(Reply::Ended(_))));
    assert_eq!(shell.available(), 700);
}

#[test]
fn a_key_spends_its_cap_and_an_operators_settings_leave_it_alone() {
    let mut shell = Shell::with_balance(10_000);
    create(&mut shell, "a", Some(500));
    by_key(&mut shell, "a", ask("1", "a", 400), NOW_MS).unwrap();
    by_key(&mut shell, "a", settle("1", 400), NOW_MS).unwrap();
    shell.set_limits(Settings::default(), NOW_MS).unwrap();
    let refused = by_key(&mut shell, "a", ask("2", "a", 200), NOW_MS).unwrap();
    assert!(matches!(refused, Reply::Refused(Refusal::CapReached { .. })), "{refused:?}");
    by_key(&mut shell, "a", ask("3", "a", 100), NOW_MS).unwrap();
    shell.admit(request("4", 5_000), NOW_MS).unwrap();
    revoke(&mut shell, "a");
    assert_eq!(shell.limits(NOW_MS).settings.caps, []);
}

#[test]
fn a_key_whose_use_is_noted_costs_a_write_a_minute() {
    let mut shell = Shell::with_balance(1_000);
    create(&mut shell, "a", None);
    by_key(&mut shell, "a", Command::Balance, NOW_MS + 5).unwrap();
    by_key(&mut shell, "a", Command::Balance, NOW_MS + 10).unwrap();
    let Reply::Keys(keys) = shell.run(Command::ListKeys, NOW_MS).unwrap().reply else { panic!() };
    assert_eq!(keys[0].last_used_ms, Some(NOW_MS + 5));
}

#[test]
fn a_cap_of_a_key_is_replaced_only_by_one_of_its_own_id() {
    let mut shell = Shell::with_balance(10_000);
    create(&mut shell, "a", Some(500));
    create(&mut shell, "b", Some(600));
    let caps = |shell: &mut Shell| -> Vec<(String, i64)> {
        let caps = shell.limits(NOW_MS).settings.caps.into_iter();
        caps.map(|cap| (cap.id, cap.limit.0)).collect()
    };
    let other =
        CapTerms { id: "key:a".to_owned(), limit: Micro(50), ..shell.limits(NOW_MS).settings.caps.remove(0) };
    let of_all = CapTerms { id: "all".to_owned(), api_key: None, limit: Micro(9), ..other.clone() };
    shell.set_limits(Settings { caps: vec![of_all, other], ..Settings::default() }, NOW_MS).unwrap();
    let expected = [("all", 9), ("key:a", 50), ("key:b", 600)].map(|(id, limit)| (id.to_owned(), limit));
    assert_eq!(caps(&mut shell), expected);
}

/// What a hold was estimated to use stands when settings came after it: also by a clock that has stepped back since.
#[test]
fn a_keys_settings_are_no_older_than_the_account() {
    let later_ms = NOW_MS + 60_000;
    let mut shell = Shell::with_balance(10_000);
    let set_at = |shell: &mut Shell| {
        let at_ms = shell.sql.text("SELECT counters ->> '$.set_at_ms' FROM limits", &[]).unwrap().unwrap();
        at_ms.parse::<i64>().unwrap()
    };
    shell.run(delta(5), later_ms).unwrap();
    create(&mut shell, "a", Some(500));
    assert_eq!(set_at(&mut shell), later_ms);
    shell.run(delta(5), later_ms + 7).unwrap();
    revoke(&mut shell, "a");
    assert_eq!(set_at(&mut shell), later_ms + 7);
}
