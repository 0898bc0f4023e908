//! Reads the books of a tenant over the public API, every page of every list.

use crate::books::{Books, Entry, OpenHold, UsageRow};
use crate::bounds::{PAGE_ROWS, PAGES_MAX, READINGS_MAX};
use crate::operation::milli;
use http_tests::world::{Tenant, number};
use serde_json::Value;

const LEDGER: &str = "/api/credits/ledger";
const USAGE: &str = "/api/billing/usage";
const HOLDS: &str = "/api/credits/holds";

/// The books at one moment. Nobody asks anything meanwhile, but alarms end holds: then it is read again.
pub async fn read(tenant: &Tenant) -> Books {
    for _ in 0..READINGS_MAX {
        let before = standing(tenant).await;
        let mut entries: Vec<Entry> = walk(tenant, LEDGER).await.iter().map(Entry::parse).collect();
        entries.reverse();
        let usage = walk(tenant, USAGE).await.iter().map(UsageRow::parse).collect();
        let (balance_milli, holds) = standing(tenant).await;
        if is_same(&before, &(balance_milli, &holds)) {
            return Books { entries, usage, balance_milli, holds };
        }
    }
    panic!("{READINGS_MAX} readings of {} and none at rest", tenant.email);
}

fn is_same(before: &(i64, Vec<OpenHold>), after: &(i64, &Vec<OpenHold>)) -> bool {
    // Ages differ from one reading to the next.
    let ids = |holds: &[OpenHold]| holds.iter().map(|hold| hold.id.clone()).collect::<Vec<_>>();
    before.0 == after.0 && ids(&before.1) == ids(after.1)
}

async fn standing(tenant: &Tenant) -> (i64, Vec<OpenHold>) {
    let (body, _) = page(tenant, HOLDS).await;
    let holds: Vec<OpenHold> = items(&body).iter().map(OpenHold::parse).collect();
    let open = body.get("open").and_then(Value::as_u64);
    let listed = u64::try_from(holds.len()).ok();
    assert!(open.is_none() || open == listed, "more holds are open than are listed: {body}");
    let balance = tenant.get("/api/credits").send().await.expect(200).json();
    (milli(number(&balance, "balance")), holds)
}

/// All items of a list, newest first, by its cursor.
async fn walk(tenant: &Tenant, path: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut query = format!("{path}?limit={PAGE_ROWS}");
    for _ in 0..PAGES_MAX {
        let (body, cursor) = page(tenant, &query).await;
        all.extend(items(&body).iter().cloned());
        match cursor {
            Some(cursor) => query = format!("{path}?limit={PAGE_ROWS}&cursor={cursor}"),
            None => return all,
        }
    }
    panic!("{path}: the walk does not end in {PAGES_MAX} pages");
}

async fn page(tenant: &Tenant, path: &str) -> (Value, Option<String>) {
    let body = tenant.get(path).send().await.expect(200).json();
    let cursor = body.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
    (body, cursor)
}

fn items(body: &Value) -> &[Value] {
    let items = body.get("items").and_then(Value::as_array);
    items.unwrap_or_else(|| panic!("no items in {body}"))
}

/// What the tenant's own audit says: `None` where the product has none yet.
pub async fn own_audit(tenant: &Tenant) -> Option<Result<(), String>> {
    let reply = tenant.get("/api/credits/verify").send().await;
    match reply.status {
        501 => None,
        200 if reply.json().get("ok") == Some(&Value::Bool(true)) => Some(Ok(())),
        _ => Some(Err(format!("{}: {reply:?}", tenant.email))),
    }
}
