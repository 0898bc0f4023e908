//! The database of a Tenant actor: made in one go on first touch, migrated step by step afterwards.

use std::sync::LazyLock;

use serde::Deserialize;

use super::Policy;
use super::idempotency::KEY_TTL_MS;
use super::limits::{self, SettingsRead};
use crate::shared::{Aside, Refusal, TenantId};
use crate::sql::{Sql, row};
use crate::{credits, keys, notices, tickets};

/// The version this code writes. A step leads from each older version to the next.
pub const SCHEMA_VERSION: i64 = 7;

/// One step; the n-th turns a database of version `n + 1` into one of version `n + 2`.
pub(super) type Step<S> = fn(&mut S, &TenantId) -> Result<(), Refusal>;

/// What a shell knows of its actor after waking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub tenant: TenantId,
    /// Set when an invariant was found broken: nothing is changed any more.
    pub quarantined: bool,
    pub(super) settings: Aside<SettingsRead>,
}

#[derive(Deserialize)]
struct ActorRow {
    schema_version: i64,
    tenant: TenantId,
    quarantine: Option<String>,
}

/// Wakes an actor that was opened before; `None` when it never was.
///
/// # Errors
/// `Storage` when the database is newer than this code, or what the database refused.
pub fn reopen(sql: &mut impl Sql) -> Result<Option<Actor>, Refusal> {
    // The table was made first, so it is found first.
    let exists =
        sql.text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'actor' LIMIT 1", &[])?;
    if exists.is_none() {
        return Ok(None);
    }
    let stored: ActorRow = row(
        sql,
        "SELECT concat('[', schema_version, ',', tenant, ',', json_quote(quarantine), ']') FROM actor",
        &[],
    )?
    .ok_or_else(|| broken("the actor row is missing"))?;
    migrate(sql, &stored.tenant, stored.schema_version, &[from_1, from_2, from_3, from_4, from_5, from_6])?;
    let quarantined = stored.quarantine.is_some();
    Ok(Some(Actor { tenant: stored.tenant, quarantined, settings: Aside::default() }))
}

/// Wakes the actor of `tenant`, making its database on first touch.
///
/// # Errors
/// As [`reopen`].
pub fn open(sql: &mut impl Sql, tenant: &TenantId, policy: &Policy, now_ms: i64) -> Result<Actor, Refusal> {
    match reopen(sql)? {
        Some(actor) => Ok(actor),
        None => make(sql, tenant, policy, now_ms).map(|(actor, _)| actor),
    }
}

/// Makes the database of `tenant`, where there is none: the actor, and when something of it is due.
///
/// # Errors
/// What the database refused.
pub(super) fn make(
    sql: &mut impl Sql,
    tenant: &TenantId,
    policy: &Policy,
    now_ms: i64,
) -> Result<(Actor, Option<i64>), Refusal> {
    sql.execute(&TABLES, &[])?;
    let stored = serde_json::to_string(tenant).map_err(|error| broken(&error.to_string()))?;
    sql.execute(
        "INSERT INTO actor VALUES (1, ?1, ?2, ?3, NULL, 0)",
        &[SCHEMA_VERSION.into(), stored.into(), now_ms.into()],
    )?;
    limits::open(sql)?;
    let account = credits::open(sql, &genesis(tenant), policy.opening(tenant, now_ms), now_ms)?;
    let due_at_ms = Some(account.next_expiry_ms()).filter(|at_ms| *at_ms < i64::MAX);
    Ok((Actor { tenant: tenant.clone(), quarantined: false, settings: Aside::default() }, due_at_ms))
}

/// All tables in one call: each call crosses to the platform. Without the comments, which every database would keep,
/// and read again on every waking.
static TABLES: LazyLock<String> = LazyLock::new(|| {
    let schemas =
        [include_str!("schema.sql"), credits::SCHEMA, notices::SCHEMA, keys::SCHEMA, tickets::SCHEMA];
    let lines = schemas.iter().flat_map(|schema| schema.lines());
    let lines = lines.filter(|line| !line.trim_start().starts_with("--"));
    lines.flat_map(|line| [line, "\n"]).collect()
});

/// What the hash chain of a tenant's ledger begins with.
#[must_use]
pub fn genesis(tenant: &TenantId) -> String {
    tenant.actor_name("ledger")
}

/// Notes that an invariant was found broken. From then on the actor answers questions and changes nothing, its
/// alarm neither: open holds stay as they were found, for whoever looks.
///
/// # Errors
/// What the database refused.
pub fn quarantine(sql: &mut impl Sql, detail: &str) -> Result<(), Refusal> {
    sql.execute("UPDATE actor SET quarantine = COALESCE(quarantine, ?1)", &[detail.into()])?;
    Ok(())
}

/// Version 1 to 2: grants, postings, the hash chain, limits and notices. Of the idempotency keys those of asks are
/// kept with their replies; the others had replies of another shape.
fn from_1<S: Sql>(sql: &mut S, tenant: &TenantId) -> Result<(), Refusal> {
    sql.execute(include_str!("from_1.sql"), &[])?;
    sql.execute(&TABLES, &[])?;
    sql.execute(
        "INSERT INTO actor SELECT id, schema_version, tenant, opened_at_ms, quarantine, 0 FROM actor_1",
        &[],
    )?;
    limits::open(sql)?;
    credits::from_1(sql, &genesis(tenant))?;
    sql.execute(
        "INSERT INTO idempotency SELECT key, body_hash, hold, reply, ?1, expires_at_ms FROM idempotency_1
         WHERE hold IS NOT NULL AND reply IS NOT NULL",
        &[KEY_TTL_MS.into()],
    )?;
    sql.execute(
        "DROP TABLE idempotency_1; DROP TABLE actor_1; DROP TABLE account_1; DROP TABLE entries_1;
         DROP TABLE usage_events_1; DROP TABLE usage_client_ids_1;",
        &[],
    )?;
    Ok(())
}

/// Version 2 to 3: API keys.
fn from_2<S: Sql>(sql: &mut S, _: &TenantId) -> Result<(), Refusal> {
    sql.execute(&keys::SCHEMA.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"), &[])?;
    Ok(())
}

/// Version 3 to 4: the attempts to deliver a notice, each with its outcome. Tables made by an older step have it.
fn from_3<S: Sql>(sql: &mut S, _: &TenantId) -> Result<(), Refusal> {
    let made = "SELECT 1 FROM sqlite_master WHERE name = 'notices' AND sql LIKE '%attempt_log%'";
    if sql.text(made, &[])?.is_none() {
        sql.execute("ALTER TABLE notices ADD COLUMN attempt_log TEXT NOT NULL DEFAULT '[]'", &[])?;
    }
    Ok(())
}

/// Version 4 to 5: tickets, and reported usage by its number. Tables made by an older step have both.
fn from_4<S: Sql>(sql: &mut S, _: &TenantId) -> Result<(), Refusal> {
    sql.execute(&tickets::SCHEMA.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"), &[])?;
    sql.execute("CREATE INDEX IF NOT EXISTS usage_by_client ON usage_events (seq) WHERE by_client = 1", &[])?;
    Ok(())
}

/// Version 5 to 6: jobs. Their tables come with a tenant's first one; the version keeps older code away, which would end
/// the holds of jobs without their jobs.
fn from_5<S: Sql>(_: &mut S, _: &TenantId) -> Result<(), Refusal> {
    Ok(())
}

/// Version 6 to 7: notices and events of jobs know what was written before them. Those that are there do not, and are
/// told by their times. Tables made by an older step have it, and those of jobs may not be there.
fn from_6<S: Sql>(sql: &mut S, _: &TenantId) -> Result<(), Refusal> {
    for (table, column) in
        [("notices", "after_seq"), ("job_events", "after_seq"), ("job_events", "after_notice")]
    {
        let lacks =
            format!("SELECT 1 FROM sqlite_master WHERE name = '{table}' AND sql NOT LIKE '%{column}%'");
        if sql.text(&lacks, &[])?.is_some() {
            sql.execute(&format!("ALTER TABLE {table} ADD COLUMN {column} INTEGER"), &[])?;
        }
    }
    Ok(())
}

/// Runs the steps that lead from `found` to the newest version, and notes it.
pub(super) fn migrate<S: Sql>(
    sql: &mut S,
    tenant: &TenantId,
    found: i64,
    steps: &[Step<S>],
) -> Result<(), Refusal> {
    let done = usize::try_from(found.saturating_sub(1)).map_err(|_| broken("schema version below one"))?;
    let Some(missing) = steps.get(done..) else {
        // No broken invariant: a deployment was rolled back, and goes forward again.
        return Err(Refusal::Storage { detail: "the database is newer than this code".to_owned() });
    };
    if missing.is_empty() {
        return Ok(());
    }
    for step in missing {
        step(sql, tenant)?;
    }
    let newest = i64::try_from(steps.len()).unwrap_or(i64::MAX).saturating_add(1);
    sql.execute("UPDATE actor SET schema_version = ?1", &[newest.into()])?;
    Ok(())
}

fn broken(detail: &str) -> Refusal {
    Refusal::Broken { detail: detail.to_owned() }
}
