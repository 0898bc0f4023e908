use serde_json::value::RawValue;

use super::schema::migrate;
use super::*;
use crate::credits::{Adjustment, HoldEnd, Usage};
use crate::shared::{Micro, Refusal, TenantId};
use crate::sql::Sql;
use crate::sqlite::Sqlite;

const NOW_MS: i64 = 5_000_000;
const POLICY: Policy = Policy { requests_per_minute: 50, guest_grant: Micro(7_000) };

/// An actor as its shell keeps it: the database, and what waking it told.
struct Shell {
    sql: Sqlite,
    actor: Actor,
}

impl Shell {
    fn new(tenant: TenantId) -> Self {
        let mut sql = Sqlite::in_memory().unwrap();
        let actor = sql.transaction(|sql| open(sql, &tenant, POLICY, NOW_MS)).unwrap();
        Self { sql, actor }
    }

    fn with_balance(micro: i64) -> Self {
        let mut shell = Self::new(TenantId::Email("me@x.io".to_owned()));
        shell.run(adjust(Adjustment::Set(Micro(micro)), None), NOW_MS).unwrap();
        shell
    }

    fn run(&mut self, command: Command, now_ms: i64) -> Result<Outcome, Refusal> {
        let call = Call { tenant: self.actor.tenant.clone(), command };
        // Through bytes, as across the stub.
        let call: Call = serde_json::from_slice(&serde_json::to_vec(&call).unwrap()).unwrap();
        let (sql, actor) = (&mut self.sql, &self.actor);
        sql.transaction(|sql| handle(sql, actor, POLICY, call, now_ms))
    }

    fn available(&mut self) -> i64 {
        match self.run(Command::Balance, NOW_MS).unwrap().reply {
            Reply::Balance(account) => account.available.0,
            other => panic!("{other:?}"),
        }
    }
}

fn key(body: &str) -> Option<Idempotency> {
    Some(Idempotency { key: "k".to_owned(), body_hash: body.to_owned() })
}

fn adjust(adjustment: Adjustment, idempotency: Option<Idempotency>) -> Command {
    Command::Adjust { operation: "op".to_owned(), adjustment, reason: None, idempotency }
}

fn admit(hold: &str, amount: i64, idempotency: Option<Idempotency>) -> Command {
    Command::Admit {
        hold: hold.to_owned(),
        amount: Micro(amount),
        ttl_ms: 1_000,
        route: "/api/si/ask".to_owned(),
        idempotency,
    }
}

fn settle(hold: &str, charge: i64, idempotency: Option<Idempotency>) -> Command {
    Command::Settle {
        hold: hold.to_owned(),
        charge: Micro(charge),
        usage: Usage::default(),
        reply: Some(RawValue::from_string(format!("\"reply of {hold}\"")).unwrap()),
        idempotency,
    }
}

#[test]
fn an_actor_serves_its_own_tenant_only() {
    let mut shell = Shell::with_balance(1_000);
    let (sql, actor) = (&mut shell.sql, &shell.actor);
    let call = Call { tenant: TenantId::Guest("me@x.io".to_owned()), command: Command::Balance };
    assert!(matches!(handle(sql, actor, POLICY, call, NOW_MS), Err(Refusal::TenantMismatch)));
    let again = sql.transaction(reopen).unwrap().unwrap();
    assert_eq!(&again, actor);
}

#[test]
fn a_guest_begins_with_its_grant_once() {
    let mut shell = Shell::new(TenantId::Guest("guest:1".to_owned()));
    let tenant = shell.actor.tenant.clone();
    shell.sql.transaction(|sql| open(sql, &tenant, POLICY, NOW_MS)).unwrap();
    assert_eq!(shell.available(), 7_000);
}

#[test]
fn questions_make_no_database_and_get_the_same_answers() {
    let tenant = TenantId::Guest("guest:1".to_owned());
    let mut opened = Shell::new(tenant.clone());
    let filter = crate::credits::UsageFilter { limit: 5, ..Default::default() };
    for command in [
        Command::Balance,
        Command::ListUsage(filter),
        Command::ListEntries { limit: 5, cursor: None },
        Command::ListHolds { limit: 5 },
    ] {
        let call = Call { tenant: tenant.clone(), command: command.clone() };
        let before = unopened(&call, POLICY, NOW_MS).unwrap().expect("a question");
        let after = opened.run(command, NOW_MS).unwrap().reply;
        let (before, after) = (serde_json::json!(before), serde_json::json!(after));
        // Opening writes the grant: its number is taken, and the ledger shows it.
        let differ = ["entries", "balance"].iter().any(|name| before.get(name).is_some());
        assert!(differ || before == after, "{before} {after}");
        assert_eq!(before.pointer("/balance/available_micro"), after.pointer("/balance/available_micro"));
    }
    let forged = Command::ListEntries { limit: 5, cursor: Some("1-1-x".to_owned()) };
    let refused = unopened(&Call { tenant: tenant.clone(), command: forged }, POLICY, NOW_MS);
    assert!(matches!(refused, Err(Refusal::InvalidCursor)));
    let asks = |amount| {
        let call = Call { tenant: tenant.clone(), command: admit("h", amount, None) };
        unopened(&call, POLICY, NOW_MS)
    };
    assert!(asks(POLICY.guest_grant.0).unwrap().is_none(), "this one opens it");
    assert!(matches!(asks(POLICY.guest_grant.0 + 1), Err(Refusal::InsufficientCredits { .. })));
}

#[test]
fn the_same_key_and_body_is_one_charge_and_one_reply() {
    let mut shell = Shell::with_balance(10_000);
    shell.run(admit("h", 6_000, key("a")), NOW_MS).unwrap();
    let early = shell.run(admit("i", 6_000, key("a")), NOW_MS);
    assert!(matches!(early, Err(Refusal::IdempotencyInProgress)), "{early:?}");
    let other = shell.run(admit("i", 6_000, key("b")), NOW_MS);
    assert!(matches!(other, Err(Refusal::IdempotencyConflict)), "{other:?}");
    shell.run(settle("h", 2_000, key("a")), NOW_MS).unwrap();
    for _ in 0..3 {
        let Reply::Replay(stored) = shell.run(admit("i", 6_000, key("a")), NOW_MS).unwrap().reply else {
            panic!("the request ran again");
        };
        assert_eq!(stored.reply.get(), "\"reply of h\"");
        assert_eq!((stored.charged, stored.available), (Micro(2_000), Micro(8_000)));
    }
    let other = shell.run(admit("i", 6_000, key("b")), NOW_MS);
    assert!(matches!(other, Err(Refusal::IdempotencyConflict)), "{other:?}");
    assert_eq!(shell.available(), 8_000);
}

#[test]
fn a_charged_key_stays_used_without_a_reply_to_give_again() {
    let mut shell = Shell::with_balance(10_000);
    let huge = format!("\"{}\"", "x".repeat(REPLY_BYTES_MAX));
    for (n, reply) in [None, RawValue::from_string(huge).ok()].into_iter().enumerate() {
        let key = Some(Idempotency { key: format!("k{n}"), body_hash: "a".to_owned() });
        let hold = format!("h{n}");
        shell.run(admit(&hold, 1_000, key.clone()), NOW_MS).unwrap();
        let settle = Command::Settle {
            hold,
            charge: Micro(1_000),
            usage: Usage::default(),
            reply,
            idempotency: key.clone(),
        };
        shell.run(settle, NOW_MS).unwrap();
        let Reply::Replay(stored) = shell.run(admit("again", 1_000, key), NOW_MS).unwrap().reply else {
            panic!("a second charge for one key");
        };
        assert_eq!(stored.reply.get(), "null");
    }
    assert_eq!(shell.available(), 8_000);
}

#[test]
fn a_request_that_came_to_nothing_frees_its_key() {
    let mut shell = Shell::with_balance(10_000);
    shell.run(admit("h", 6_000, key("a")), NOW_MS).unwrap();
    shell.run(Command::Release { hold: "h".to_owned(), idempotency: key("a") }, NOW_MS).unwrap();
    assert!(matches!(shell.run(admit("i", 6_000, key("a")), NOW_MS).unwrap().reply, Reply::Admitted { .. }));
    // A worker that died: the hold expires, and the key is free again, also for another body.
    shell.sql.transaction(|sql| alarm(sql, NOW_MS + 1_000)).unwrap();
    let next = shell.run(admit("j", 6_000, key("b")), NOW_MS + 1_000).unwrap();
    assert!(matches!(next.reply, Reply::Admitted { .. }));
    // The dead worker's late settle charges nothing and does not touch the new owner's key.
    let late = shell.run(settle("i", 6_000, key("a")), NOW_MS + 1_001).unwrap();
    let Reply::Ended(ended) = late.reply else { panic!("no end") };
    assert_eq!((ended.end, ended.charged), (HoldEnd::Expired, Micro::ZERO));
    let waiting = shell.run(admit("k", 6_000, key("b")), NOW_MS + 1_002);
    assert!(matches!(waiting, Err(Refusal::IdempotencyInProgress)), "{waiting:?}");
}

#[test]
fn keys_are_forgotten_after_their_day() {
    let mut shell = Shell::with_balance(0);
    shell.run(adjust(Adjustment::Delta(Micro(1_000)), key("a")), NOW_MS).unwrap();
    let replay =
        shell.run(adjust(Adjustment::Delta(Micro(1_000)), key("a")), NOW_MS + KEY_TTL_MS - 1).unwrap();
    assert!(matches!(replay.reply, Reply::Adjusted { replayed: true, .. }));
    assert_eq!(shell.available(), 1_000);
    let due = shell.sql.transaction(|sql| alarm(sql, NOW_MS + KEY_TTL_MS)).unwrap();
    assert_eq!(due, None);
    assert_eq!(shell.sql.text("SELECT keys_taken FROM idempotency_count", &[]).unwrap().unwrap(), "0");
    shell.run(adjust(Adjustment::Delta(Micro(1_000)), key("b")), NOW_MS + KEY_TTL_MS).unwrap();
    assert_eq!(shell.available(), 2_000);
}

#[test]
fn keys_are_limited() {
    let mut shell = Shell::with_balance(0);
    shell.sql.execute(&format!("UPDATE idempotency_count SET keys_taken = {KEYS_MAX}"), &[]).unwrap();
    let refused = shell.run(adjust(Adjustment::Set(Micro(1)), key("a")), NOW_MS);
    assert!(matches!(refused, Err(Refusal::TooManyKeys { .. })), "{refused:?}");
}

#[test]
fn a_refused_command_changes_nothing() {
    let mut shell = Shell::with_balance(1_000);
    for n in 0..60 {
        // Refused for money after the budget was counted: the count must be undone too.
        assert!(shell.run(admit(&n.to_string(), 6_000, None), NOW_MS).is_err());
    }
    let outcome = shell.run(admit("fits", 1_000, None), NOW_MS).unwrap();
    let Reply::Admitted { budget: Some(budget), .. } = outcome.reply else { panic!("no budget") };
    assert_eq!(budget.remaining, POLICY.requests_per_minute - 1);
    assert_eq!(outcome.effects, [Effect::WakeBy { at_ms: NOW_MS + 1_000 }]);
}

#[test]
fn a_broken_account_is_quarantined_and_still_answers() {
    let mut shell = Shell::with_balance(1_000);
    shell.sql.transaction(|sql| quarantine(sql, "first detail")).unwrap();
    shell.sql.transaction(|sql| quarantine(sql, "second detail")).unwrap();
    shell.actor = shell.sql.transaction(reopen).unwrap().unwrap();
    assert!(shell.actor.quarantined);
    let refused = shell.run(admit("h", 1, None), NOW_MS);
    assert!(matches!(refused, Err(Refusal::Quarantined)), "{refused:?}");
    assert_eq!(shell.available(), 1_000);
    assert_eq!(shell.sql.text("SELECT quarantine FROM actor", &[]).unwrap().unwrap(), "first detail");
}

#[test]
fn the_alarm_is_safe_early_late_and_twice() {
    let mut shell = Shell::with_balance(10_000);
    shell.run(admit("h", 6_000, None), NOW_MS).unwrap();
    let run = |shell: &mut Shell, at| shell.sql.transaction(|sql| alarm(sql, at)).unwrap();
    assert_eq!(run(&mut shell, NOW_MS - 50), Some(NOW_MS + 1_000));
    let after = run(&mut shell, NOW_MS + 9_000).unwrap();
    assert_eq!(run(&mut shell, NOW_MS + 9_000), Some(after));
    assert_eq!(shell.available(), 10_000);
    assert_eq!(run(&mut shell, after), None);
}

#[test]
fn migrations_run_once_in_order_and_refuse_the_future() {
    let mut shell = Shell::with_balance(0);
    let steps = ["CREATE TABLE two (x)", "ALTER TABLE two ADD COLUMN y"];
    let version =
        |shell: &mut Shell| shell.sql.text("SELECT schema_version FROM actor", &[]).unwrap().unwrap();
    migrate(&mut shell.sql, 1, &steps).unwrap();
    assert_eq!(version(&mut shell), "3");
    migrate(&mut shell.sql, 3, &steps).unwrap();
    assert!(matches!(migrate(&mut shell.sql, 4, &steps), Err(Refusal::Storage { .. })));
    assert!(matches!(migrate(&mut shell.sql, 0, &steps), Err(Refusal::Broken { .. })));
}
