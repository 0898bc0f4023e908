//! What a failure between two statements leaves behind, on real workerd, over the storage code that ships.
//!
//! The Worker under test is the probe of `tests/transaction`, which fails on purpose.

use http_tests::artifacts::repository_root;
use http_tests::stack::Stack;
use http_tests::vars::{ProviderBases, Vars};
use std::time::Duration;

/// No test here asks a model.
const NOWHERE: &str = "http://127.0.0.1:9/v1";

fn probe() -> Stack {
    let bundle = repository_root().join("target/transaction-probe/index.js");
    assert!(bundle.exists(), "{} is missing: run make test-http", bundle.display());
    let nowhere = ProviderBases {
        groq: NOWHERE.to_owned(),
        openai: NOWHERE.to_owned(),
        local: NOWHERE.to_owned(),
        cartesia: NOWHERE.to_owned(),
    };
    Stack::start_bundle(&Vars::base(&nowhere), NOWHERE, Some(bundle))
}

/// A trap takes the front half of its own request along, so that one may never be answered.
const ANSWER_BOUND: Duration = Duration::from_secs(3);

async fn get(url: &str, path: &str) -> Option<String> {
    let client = reqwest::Client::builder().timeout(ANSWER_BOUND).build().expect("a client");
    let response = client.get(format!("{url}{path}")).send().await.ok()?;
    response.text().await.ok()
}

async fn rows(url: &str) -> u32 {
    let count = get(url, "/count").await.expect("the object answers");
    count.parse().unwrap_or_else(|_| panic!("no count: {count}"))
}

#[tokio::test]
async fn inside_a_transaction_a_failure_leaves_nothing() {
    let stack = probe();
    let url = &stack.target().url;
    for how in ["error", "panic", "trap"] {
        let _reply_or_broken_connection = get(url, &format!("/inside/{how}")).await;
        assert_eq!(rows(url).await, 0, "after a {how} inside a transaction");
    }
    assert_eq!(get(url, "/inside/none").await.as_deref(), Some("2"), "a command that succeeds is kept");
}

/// The same without a transaction, so that the test above is known to be able to fail.
#[tokio::test]
async fn outside_of_one_half_a_command_stays() {
    let stack = probe();
    let url = &stack.target().url;
    let _refused = get(url, "/bare/error").await;
    assert_eq!(rows(url).await, 1);
}
