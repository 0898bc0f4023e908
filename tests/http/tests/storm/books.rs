//! What must hold of the books after it, whatever happened.

use crate::asks::Outcome;
use crate::providers::REPORTED_MORE;
use http_tests::poll::eventually;
use http_tests::world::{Tenant, number, text, whole};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub async fn no_hold_is_left(tenant: &Tenant, bound: Duration) {
    eventually(bound, "every hold has ended", || async {
        let open = tenant.get("/api/credits/holds").send().await.expect(200).json();
        if whole(&open, "open") == 0 { Ok(()) } else { Err(whole(&open, "open")) }
    })
    .await;
}

/// Micro-credits of an amount that has three decimals.
fn micro(credits: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    let thousandths = (credits * 1_000.0).round() as i64;
    thousandths * 1_000
}

fn sum_of(entries: &[Value], kinds: &[&str]) -> i64 {
    let ours = entries.iter().filter(|entry| kinds.contains(&text(entry, "kind")));
    ours.map(|entry| whole(entry, "amount_micro")).sum()
}

/// What was used and not paid for is of providers that reported more than the hold was made for, and of nothing else:
/// what is asked for is paid for.
fn shortfalls_are_explained(entries: &[Value], usage: &[Value], seed: u64) {
    let short: Vec<&Value> = entries.iter().filter(|entry| whole(entry, "shortfall_micro") > 0).collect();
    for entry in &short {
        let hold = text(entry, "operation");
        let item = usage.iter().find(|item| text(item, "id") == hold);
        let item = item.unwrap_or_else(|| panic!("seed {seed}: no usage item of {entry}"));
        let tokens = (number(item, "tokens_in"), number(item, "tokens_out"));
        #[allow(clippy::cast_precision_loss)]
        let more = (REPORTED_MORE.prompt_tokens as f64, REPORTED_MORE.completion_tokens as f64);
        assert_eq!(tokens, more, "seed {seed}: a shortfall of an honest answer: {entry}, {item}");
    }
    let sum: i64 = short.iter().map(|entry| whole(entry, "shortfall_micro")).sum();
    println!("  {sum} micro-credits were short, of {} answers that reported more than was held", short.len());
}

/// The ledger, the usage and the balance tell the same, and no more was charged than was given.
pub async fn agree(tenant: &Tenant, credit: f64, outcomes: &[Outcome], seed: u64) {
    let entries = tenant.ledger().await;
    let (given, charged) = (sum_of(&entries, &["set", "delta", "grant"]), -sum_of(&entries, &["charge"]));
    assert_eq!(given, micro(credit), "seed {seed}: what was given");
    assert!(charged > 0 && charged <= given, "seed {seed}: {charged} of {given} micro-credits were charged");
    let account = tenant.get("/api/credits").send().await.expect(200).json();
    assert_eq!(micro(number(&account, "held")), 0, "seed {seed}: {account}");
    assert_eq!(micro(number(&account, "balance")), given - charged, "seed {seed}: what is left");
    assert!(entries.iter().all(|entry| number(entry, "balance") >= 0.0), "seed {seed}: below zero once");
    let found = tenant.verified().await;
    assert_eq!(usize::try_from(whole(&found, "entries")), Ok(entries.len()), "seed {seed}");

    let usage = tenant.walk("/api/billing/usage").await;
    let costs: i64 = usage.iter().map(|item| micro(number(item, "cost_credits"))).sum();
    assert_eq!(costs, charged, "seed {seed}: the usage explains the charges");
    let mut recorded: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &usage {
        *recorded.entry(text(&item["meta"], "request_id")).or_default() += 1;
    }
    assert!(recorded.values().all(|times| *times == 1), "seed {seed}: a request is recorded twice");
    for request_id in outcomes.iter().filter_map(|outcome| outcome.acknowledged.as_deref()) {
        assert!(
            recorded.contains_key(request_id),
            "seed {seed}: {request_id} was acknowledged and is not there"
        );
    }
    shortfalls_are_explained(&entries, &usage, seed);
    let expired = tenant.walk("/api/credits/holds?state=expired").await;
    let mut outcomes_of_usage: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &usage {
        *outcomes_of_usage.entry(text(&item["meta"], "outcome")).or_default() += 1;
    }
    println!(
        "  {charged} of {given} micro-credits were charged in {} entries; usage {}; {} holds expired",
        entries.len(),
        json!(outcomes_of_usage),
        expired.len(),
    );
}
