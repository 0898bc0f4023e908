//! Whose actor it is, how its database comes to be, and what it does when it is broken.

use super::super::schema::{Step, migrate};
use super::super::waking;
use super::*;

#[test]
fn an_actor_serves_its_own_tenant_only() {
    let mut shell = Shell::with_balance(1_000);
    let (sql, actor) = (&mut shell.sql, &shell.actor);
    let call = Call {
        tenant: TenantId::Guest("me@x.io".to_owned()),
        api_key: None,
        request_id: None,
        command: Command::Balance,
    };
    assert!(matches!(handle(sql, actor, &policy(), call, NOW_MS), Err(Refusal::TenantMismatch)));
    let again = sql.transaction(reopen).unwrap().unwrap();
    assert_eq!(&again, actor);
}

#[test]
fn a_guest_begins_with_its_grant_once_and_for_a_while() {
    let mut shell = Shell::new(&guest());
    shell.sql.transaction(|sql| open(sql, &guest(), &policy(), NOW_MS)).unwrap();
    assert_eq!(shell.available(), GUEST_GRANT.0);
    assert_eq!(shell.available_at(NOW_MS + GUEST_GRANT_TTL_MS - 1), GUEST_GRANT.0);
    assert_eq!(shell.available_at(NOW_MS + GUEST_GRANT_TTL_MS), 0);
    assert_eq!(due_at_ms(&mut shell.sql).unwrap(), Some(NOW_MS + GUEST_GRANT_TTL_MS));
    assert_eq!(Shell::new(&me()).available(), 0, "others begin with nothing");
}

#[test]
fn a_database_that_never_was_opened_is_no_actor() {
    let mut sql = Sqlite::in_memory().unwrap();
    assert_eq!(sql.transaction(reopen), Ok(None));
}

#[test]
fn a_first_waking_says_what_the_next_one_finds() {
    for (tenant, due_ms) in [(me(), None), (guest(), Some(NOW_MS + GUEST_GRANT_TTL_MS))] {
        let mut sql = Sqlite::in_memory().unwrap();
        let call = Call { tenant, api_key: None, request_id: None, command: delta(5) };
        let mut woken = || sql.transaction(|sql| waking::wake(sql, &call, &policy(), NOW_MS)).unwrap();
        let Woken::Opened { actor, due_at_ms } = woken() else { panic!("a change opens") };
        assert_eq!(due_at_ms, due_ms);
        let Woken::Opened { actor: again, due_at_ms } = woken() else { panic!("it is open") };
        assert_eq!((again, due_at_ms), (actor, due_ms));
        let noted = "SELECT COUNT(*) FROM sqlite_master WHERE sql LIKE '%--%'";
        assert_eq!(sql.text(noted, &[]).unwrap().as_deref(), Some("0"), "no comment is kept");
    }
}

#[test]
fn a_question_makes_no_database() {
    let mut sql = Sqlite::in_memory().unwrap();
    let call = Call { tenant: me(), api_key: None, request_id: None, command: Command::Balance };
    let woken = sql.transaction(|sql| waking::wake(sql, &call, &policy(), NOW_MS)).unwrap();
    assert!(matches!(woken, Woken::Unopened(Reply::Balance(_))), "{woken:?}");
    assert_eq!(sql.transaction(reopen), Ok(None));
}

#[test]
fn a_refused_command_changes_nothing() {
    let mut shell = Shell::with_balance(1_000);
    for n in 0..60 {
        // Refused for money after the budget was counted: the count must be undone too.
        assert!(shell.admit(request(&n.to_string(), 6_000), NOW_MS).is_err());
    }
    let outcome = shell.run(admit("fits", 1_000, None), NOW_MS).unwrap();
    let Reply::Admitted(admitted) = &outcome.reply else { panic!("{outcome:?}") };
    let budget = &admitted.budgets[0];
    assert_eq!((budget.policy.as_str(), budget.limit, budget.remaining), ("requests", 50, 12));
    assert_eq!(outcome.effects, [Effect::WakeBy { at_ms: NOW_MS + TTL_MS }]);
}

#[test]
fn a_balance_can_be_asked_as_it_was_after_any_entry() {
    let mut shell = Shell::with_balance(1_000);
    shell.run(delta(500), NOW_MS + 1).unwrap();
    let Reply::BalanceAt(entry) = shell.run(Command::BalanceAt { entry: 1 }, NOW_MS).unwrap().reply else {
        panic!("no entry");
    };
    assert_eq!((entry.available_micro, entry.reference.as_deref()), (Micro(1_000), Some("ticket-1")));
    let unknown = shell.run(Command::BalanceAt { entry: 3 }, NOW_MS);
    assert!(matches!(unknown, Err(Refusal::UnknownEntry)));
}

#[test]
fn the_operators_changes_are_entries_with_their_reasons() {
    let mut shell = Shell::with_balance(1_000);
    let terms = crate::credits::GrantTerms { expires_at_ms: Some(NOW_MS + 77), ..Default::default() };
    let outcome = shell.run(adjust(Adjustment::Grant(Micro(50), terms), None), NOW_MS).unwrap();
    assert_eq!(wake(&outcome), Some(NOW_MS + 77), "the alarm takes what nobody spends");
    let Reply::Entries(page) =
        shell.run(Command::ListEntries { limit: 2, cursor: None }, NOW_MS).unwrap().reply
    else {
        panic!("no entries");
    };
    let shown: Vec<_> =
        page.items.iter().map(|e| (e.seq, e.operation.as_str(), e.reason.as_deref())).collect();
    assert_eq!(shown, [(2, "op", Some("why")), (1, "op", Some("why"))]);
}

#[test]
fn a_broken_account_is_quarantined_and_still_answers() {
    let mut shell = Shell::with_balance(1_000);
    shell.sql.transaction(|sql| quarantine(sql, "first detail")).unwrap();
    shell.sql.transaction(|sql| quarantine(sql, "second detail")).unwrap();
    shell.actor = shell.sql.transaction(reopen).unwrap().unwrap();
    assert!(shell.actor.quarantined);
    for change in [
        admit("h", 1, None),
        settle("h", 1),
        progress("h", 1, 1, Usage::default()),
        Command::Release { hold: "h".to_owned() },
        Command::Count,
        set(5),
        Command::SetLimits { settings: Box::default(), fresh_secret: String::new() },
        Command::RecordUsage {
            id: "e".to_owned(),
            usage: Usage::default(),
            cost: None,
            created_at_ms: None,
            idempotency: None,
        },
    ] {
        let refused = shell.run(change, NOW_MS);
        assert!(matches!(refused, Err(Refusal::Quarantined)), "{refused:?}");
    }
    assert_eq!(shell.available(), 1_000);
    assert_eq!(shell.sql.text("SELECT quarantine FROM actor", &[]).unwrap().unwrap(), "first detail");
}

#[test]
fn an_audit_that_finds_something_asks_for_quarantine_once() {
    let mut shell = Shell::with_balance(1_000);
    let (found, effects) = shell.verified();
    assert_eq!((found.entries, found.complete, found.problems.len(), effects), (1, true, 0, vec![]));
    shell.tamper("UPDATE entries SET reason = 'another'");
    let (found, effects) = shell.verified();
    assert_eq!(effects, [Effect::Quarantine { detail: found.problems[0].clone() }]);
    shell.sql.transaction(|sql| quarantine(sql, &found.problems[0])).unwrap();
    shell.actor = shell.sql.transaction(reopen).unwrap().unwrap();
    let (again, effects) = shell.verified();
    assert_eq!((again, effects), (found, vec![]), "it is quarantined already");
}

#[test]
fn migrations_run_once_in_order_and_refuse_the_future() {
    let mut shell = Shell::with_balance(0);
    let tenant = me();
    let steps: [Step<Sqlite>; 2] = [
        |sql, _| sql.execute("CREATE TABLE two (x)", &[]).map_err(Refusal::from),
        |sql, _| sql.execute("ALTER TABLE two ADD COLUMN y", &[]).map_err(Refusal::from),
    ];
    let version =
        |shell: &mut Shell| shell.sql.text("SELECT schema_version FROM actor", &[]).unwrap().unwrap();
    assert_eq!(version(&mut shell), SCHEMA_VERSION.to_string());
    migrate(&mut shell.sql, &tenant, 1, &steps).unwrap();
    assert_eq!(version(&mut shell), "3");
    migrate(&mut shell.sql, &tenant, 3, &steps).unwrap();
    assert!(matches!(migrate(&mut shell.sql, &tenant, 4, &steps), Err(Refusal::Storage { .. })));
    assert!(matches!(migrate(&mut shell.sql, &tenant, 0, &steps), Err(Refusal::Broken { .. })));
}

/// Databases as versions 2 and 3 left them: without keys, and without a line for each attempt.
#[test]
fn databases_of_versions_2_and_3_get_what_came_since() {
    let notices = "DROP TABLE notices;
        CREATE TABLE notices (seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,
          body TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_at_ms INTEGER,
          delivered_at_ms INTEGER, last_outcome TEXT);
        INSERT INTO notices VALUES (1, 5, 'cap.soft', '{}', 'delivered', 1, NULL, 6, '204');";
    for (version, keys) in [(2, "DROP TABLE api_keys;"), (3, "")] {
        let mut shell = Shell::with_balance(1_000);
        shell.sql.execute(&format!("{notices}{keys}"), &[]).unwrap();
        shell.tamper(&format!("UPDATE actor SET schema_version = {version}"));
        shell.sql.transaction(reopen).unwrap().unwrap();
        let now = shell.sql.text("SELECT schema_version FROM actor", &[]).unwrap().unwrap();
        assert_eq!(now, SCHEMA_VERSION.to_string(), "from {version}");
        assert!(shell.run(Command::ListKeys, NOW_MS).is_ok(), "from {version}");
        let Reply::Notices(kept) =
            shell.run(Command::ListNotices { limit: 9, cursor: None }, NOW_MS).unwrap().reply
        else {
            panic!("no notices")
        };
        assert_eq!((kept.items.len(), kept.items[0].attempt_log.len()), (1, 0), "from {version}");
        assert_eq!(shell.available(), 1_000);
    }
}

/// A database as version 4 left it: without tickets, and with usage that is found by its time alone.
#[test]
fn a_database_of_version_4_gets_tickets_and_finds_reported_usage() {
    let mut shell = Shell::with_balance(1_000);
    shell.sql.execute("DROP TABLE tickets; DROP INDEX usage_by_client;", &[]).unwrap();
    shell.tamper("UPDATE actor SET schema_version = 4");
    shell.sql.transaction(reopen).unwrap().unwrap();
    let made = "SELECT group_concat(name) FROM sqlite_master WHERE name IN ('tickets', 'usage_by_client')";
    assert_eq!(shell.sql.text(made, &[]).unwrap().unwrap(), "tickets,usage_by_client");
    let now = shell.sql.text("SELECT schema_version FROM actor", &[]).unwrap().unwrap();
    assert_eq!(now, SCHEMA_VERSION.to_string());
    assert_eq!(shell.available(), 1_000);
}

/// A database as version 5 left it has no jobs, and has them from the first on.
#[test]
fn a_database_of_version_5_is_as_it_was() {
    let mut shell = Shell::with_balance(1_000);
    shell.tamper("UPDATE actor SET schema_version = 5");
    shell.sql.transaction(reopen).unwrap().unwrap();
    let now = shell.sql.text("SELECT schema_version FROM actor", &[]).unwrap().unwrap();
    assert_eq!(now, SCHEMA_VERSION.to_string());
    assert!(!crate::jobs::exists(&mut shell.sql).unwrap());
}

/// A database as version 6 left it, with tables of jobs or without: what is told knows its place from then on.
#[test]
fn a_database_of_version_6_notes_the_places_of_what_it_tells() {
    for with_jobs in [false, true] {
        let mut shell = Shell::with_balance(1_000);
        shell.sql.execute("ALTER TABLE notices DROP COLUMN after_seq", &[]).unwrap();
        let mut columns = vec!["notices after_seq"];
        if with_jobs {
            crate::jobs::make_tables(&mut shell.sql).unwrap();
            let old = "ALTER TABLE job_events DROP COLUMN after_seq;
                ALTER TABLE job_events DROP COLUMN after_notice;
                INSERT INTO job_events VALUES (1, 5, '{}');";
            shell.sql.execute(old, &[]).unwrap();
            columns.extend(["job_events after_seq", "job_events after_notice"]);
        }
        shell.tamper("UPDATE actor SET schema_version = 6");
        shell.sql.transaction(reopen).unwrap().unwrap();
        let now = shell.sql.text("SELECT schema_version FROM actor", &[]).unwrap().unwrap();
        assert_eq!(now, SCHEMA_VERSION.to_string());
        let noted = "SELECT group_concat(concat(m.name, ' ', c.name)) FROM sqlite_master AS m, pragma_table_info(m.name) AS c
             WHERE c.name LIKE 'after_%' ORDER BY m.name DESC, c.cid";
        let found = shell.sql.text(noted, &[]).unwrap().unwrap();
        let mut found: Vec<&str> = found.split(',').collect();
        found.sort_unstable();
        columns.sort_unstable();
        assert_eq!(found, columns);
        assert_eq!(crate::jobs::exists(&mut shell.sql).unwrap(), with_jobs);
        assert_eq!(shell.available(), 1_000);
    }
}

/// A database as version 1 left it: a balance, a charge, a correction, an open hold, keys and reported usage.
#[test]
fn a_database_of_version_1_is_carried_over_with_all_its_books() {
    let mut sql = Sqlite::in_memory().unwrap();
    sql.execute(include_str!("schema_1.sql"), &[]).unwrap();
    let tenant = serde_json::to_string(&me()).unwrap();
    sql.execute("INSERT INTO actor VALUES (1, 1, ?1, 5, NULL)", &[tenant.into()]).unwrap();
    sql.execute(
        r#"INSERT INTO account VALUES (1, 5000, 2000, 8000, 1000, 1, 6, 77);
           INSERT INTO entries VALUES (1, 10, 'set', 9000, 9000, 0, 0, 'op1', 'first'),
             (2, 11, 'charge', -1000, 6000, 2000, 0, 'h1', NULL), (4, 12, 'delta', -1000, 5000, 2000, 5, 'op2', NULL);
           INSERT INTO holds VALUES ('h2', 'open', 2000, '/api/si/ask', 12, 99, NULL, NULL, NULL);
           INSERT INTO usage_events VALUES (11, 3, 'h1', '/api/si/ask', 4, 5, 1000, '{"basis":"counted"}'),
             (13, 5, 'own', NULL, NULL, NULL, 400, NULL);
           INSERT INTO usage_client_ids VALUES ('own', 13, 5);
           INSERT INTO idempotency VALUES
             ('asked', 'b', 'h1', '{"reply":"x","charged":1000,"available":6000}', 9000000000),
             ('adjusted', 'b', NULL, '{}', 9000000000), ('running', 'b', 'h2', NULL, 9000000000);"#,
        &[],
    )
    .unwrap();
    let actor = sql.transaction(reopen).unwrap().unwrap();
    let mut shell = Shell { sql, actor, policy: policy() };
    assert_eq!(
        shell.sql.text("SELECT schema_version FROM actor", &[]).unwrap().unwrap(),
        SCHEMA_VERSION.to_string()
    );
    assert_eq!(shell.available(), 7_000, "what was held came back");
    let Reply::Verified(found) = shell.run(Command::Verify { from: 0, limit: 100 }, NOW_MS).unwrap().reply
    else {
        panic!("no audit")
    };
    assert_eq!((found.problems, found.entries, found.complete), (Vec::new(), 3, true));
    let kept = |key: &str| Some(Idempotency { key: key.to_owned(), body_hash: "b".to_owned() });
    let mut again = |key: &str, hold: &str| {
        let asked = Admission { idempotency: kept(key), ..request(hold, 1_000) };
        shell.run(Command::Admit(Box::new(asked)), NOW_MS).unwrap().reply
    };
    let Reply::Replay(stored) = again("asked", "a") else { panic!("the reply was lost") };
    assert_eq!((stored.reply.get(), stored.charged), ("\"x\"", Micro(1_000)));
    assert!(matches!(again("running", "b"), Reply::Admitted(_)));
    let late = shell.run(settle("h2", 500), NOW_MS);
    assert!(matches!(late, Err(Refusal::UnknownHold)), "{late:?}");
    // What was carried over is spent and filled as any other grant, and the audit can tell.
    shell.settle("b", 500, NOW_MS);
    for change in [delta(300), delta(-100), set(0), set(9)] {
        shell.run(change, NOW_MS).unwrap();
        assert_eq!(shell.verified().0.problems, Vec::<String>::new());
    }
    assert!(reopen(&mut shell.sql).unwrap().is_some(), "and it opens again");
}

#[test]
fn an_empty_database_of_version_1_is_one_never_used() {
    let mut sql = Sqlite::in_memory().unwrap();
    sql.execute(include_str!("schema_1.sql"), &[]).unwrap();
    let tenant = serde_json::to_string(&me()).unwrap();
    sql.execute("INSERT INTO actor VALUES (1, 1, ?1, 5, NULL)", &[tenant.into()]).unwrap();
    sql.execute("INSERT INTO account VALUES (1, 0, 0, 0, 0, 0, 1, 77)", &[]).unwrap();
    let actor = sql.transaction(reopen).unwrap().unwrap();
    let mut shell = Shell { sql, actor, policy: policy() };
    let account = crate::credits::Account::load(&mut shell.sql).unwrap();
    assert_eq!(account, crate::credits::unopened(&genesis(&me()), 77));
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
}

#[test]
fn each_tenants_chain_begins_elsewhere() {
    let beginnings = [genesis(&me()), genesis(&guest()), genesis(&TenantId::Email("guest:1".to_owned()))];
    for (at, genesis) in beginnings.iter().enumerate() {
        assert!(genesis.len() >= 64, "{genesis}");
        assert!(!beginnings[..at].contains(genesis), "{genesis}");
    }
}

#[test]
fn a_log_line_calls_a_command_what_its_bytes_call_it() {
    let id = || "x".to_owned();
    let commands = [
        Command::Balance,
        Command::BalanceAt { entry: 1 },
        set(1),
        Command::Admit(Box::new(request("h", 1))),
        progress("h", 1, 1, Usage::default()),
        settle("h", 1),
        Command::Release { hold: id() },
        Command::ListEntries { limit: 1, cursor: None },
        Command::ListNotices { limit: 1, cursor: None },
        Command::Verify { from: 0, limit: 1 },
        Command::Limits,
        Command::Identify { digest: id() },
        Command::ListKeys,
        Command::RevokeKey { id: id() },
        Command::SetLimits { settings: Box::default(), fresh_secret: id() },
    ];
    for command in commands {
        let bytes = serde_json::to_value(&command).unwrap();
        let tag = bytes.as_str().or_else(|| bytes.as_object()?.keys().next().map(String::as_str)).unwrap();
        assert_eq!(command.name(), tag);
    }
}
