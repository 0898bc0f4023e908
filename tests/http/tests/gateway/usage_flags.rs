//! A provider that says it used what it cannot have used: nobody pays for it, and the usage row, the log and the
//! operator's overview say so.

use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Completion};
use http_tests::vars::GROQ_MODEL;
use http_tests::world::{Tenant, World, text, whole};
use serde_json::{Value, json};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(5);
/// An answer of 273 bytes: some 70 tokens.
const ANSWER: &str = "The answer is plain. ";
const TIMES: usize = 13;
/// Far more than it needs, so that only what came of it can tell how much it was.
const MAX_TOKENS: u64 = 2_000;
const MOST: i64 = 9_007_199_254_740_991;

/// What is said; the flag, and the numbers beside it as the row has them. No flag: believed, or counted.
fn cases() -> Vec<(Value, &'static str, Value)> {
    let of = |tokens_in: Value, tokens_out: Value| json!({"prompt_tokens": tokens_in, "completion_tokens": tokens_out});
    let row = |tokens_in: Value, tokens_out: Value| json!({"tokens_in": tokens_in, "tokens_out": tokens_out});
    vec![
        (of(json!(-40), json!(52)), "absurd", row(json!(-40), json!(52))),
        (of(json!(40), json!(-1)), "absurd", row(json!(40), json!(-1))),
        (of(json!(40.5), json!(52)), "absurd", row(json!(40), json!(52))),
        (of(json!(40), json!("52")), "absurd", row(json!(40), Value::Null)),
        (of(json!(-1e300), json!(1e300)), "absurd", row(json!(-MOST), json!(MOST))),
        (of(json!(0), json!(0)), "absurd", row(json!(0), json!(0))),
        (json!("many"), "absurd", row(Value::Null, Value::Null)),
        (of(json!(u64::MAX), json!(52)), "inflated", row(json!(MOST), json!(52))),
        (of(json!(40), json!(9_999_999_999_u64)), "inflated", row(json!(40), json!(9_999_999_999_u64))),
        // Twice the bytes that came, and less than was asked for.
        (
            of(json!(40), json!(2 * ANSWER.len() * TIMES)),
            "inflated",
            row(json!(40), json!(2 * ANSWER.len() * TIMES)),
        ),
        (of(json!(5_000), json!(52)), "inflated", row(json!(5_000), json!(52))),
        (of(json!(40), json!(52)), "", Value::Null),
        (json!({}), "", Value::Null),
        (Value::Null, "", Value::Null),
    ]
}

async fn meta_of(tenant: &Tenant, marker: &str) -> Value {
    let items = eventually(BOUND, "its usage row is there", || async {
        let items = tenant.usage().await;
        if items.is_empty() { Err(marker.to_owned()) } else { Ok(items) }
    });
    items.await.remove(0)
}

async fn flags(world: &World) -> (i64, i64) {
    let overview = world.client().get("/api/admin/providers").admin().send().await.expect(200).json();
    let items = overview["items"].as_array().cloned().unwrap_or_default();
    let item = items.iter().find(|item| item["provider"] == "groq" && item["model"] == GROQ_MODEL);
    let flags = &item.unwrap_or_else(|| panic!("not in {overview}"))["usage_flags"];
    (whole(flags, "absurd"), whole(flags, "inflated"))
}

fn logged(world: &World, request_id: &str) -> Vec<Value> {
    let log = world.stack.log().text();
    let lines =
        log.lines().filter_map(|line| serde_json::from_str::<Value>(line.get(line.find('{')?..)?).ok());
    lines.filter(|line| line["event"] == "usage_flagged" && line["request_id"] == request_id).collect()
}

#[tokio::test]
async fn what_cannot_be_is_charged_as_it_is_counted_and_said_to_be_so() {
    let world = World::private(json!({})).await;
    let answer = ANSWER.repeat(TIMES);
    let (mut absurd, mut inflated) = (0, 0);
    for (said, flag, shown) in cases() {
        for streams in [false, true] {
            let tenant = world.tenant("flagged", 5.0).await;
            let marker = unique_marker();
            let completion = Completion::of(&[&answer]).raw_usage(said.clone());
            world.groq.script(&marker, [Behaviour::Complete(completion)]);
            let ask = tenant.ask(&json!({"input": marker, "max_tokens": MAX_TOKENS}));
            if streams {
                ask.open().await.expect_stream().await.drain().await;
            } else {
                ask.send().await.expect(200);
            }
            let item = meta_of(&tenant, &marker).await;
            let meta = &item["meta"];
            let said_what = format!("{said}, streamed: {streams}, gave {item}");
            let found = meta.get("usage_flag").and_then(Value::as_str).unwrap_or_default();
            assert_eq!(found, flag, "{said_what}");
            assert_eq!(meta.get("usage_reported").unwrap_or(&Value::Null), &shown, "{said_what}");
            let reported = flag.is_empty() && said.get("prompt_tokens").is_some();
            assert_eq!(text(meta, "basis"), if reported { "reported" } else { "counted" }, "{said_what}");
            assert!((40..=120).contains(&whole(&item, "tokens_out")), "{said_what}");
            assert!((8..=60).contains(&whole(&item, "tokens_in")), "{said_what}");
            let request_id = text(meta, "request_id");
            let line = json!({
                "event": "usage_flagged", "request_id": request_id, "provider": "groq", "model": GROQ_MODEL, "flag": flag,
            });
            let expected = if flag.is_empty() { vec![] } else { vec![line] };
            eventually(BOUND, "its line is written", || async {
                let lines = logged(&world, request_id);
                if lines == expected { Ok(()) } else { Err((lines, &said_what)) }
            })
            .await;
            absurd += i64::from(flag == "absurd");
            inflated += i64::from(flag == "inflated");
            assert_eq!(flags(&world).await, (absurd, inflated), "{said_what}");
            tenant.verified().await;
        }
    }
    assert_eq!((absurd, inflated), (14, 8));
}

#[tokio::test]
async fn what_was_thought_unseen_is_paid_for_when_it_is_said() {
    let world = World::verified().await;
    let tenant = world.tenant("thinking", 5.0).await;
    let usage = |details: Value| json!({"prompt_tokens": 40, "completion_tokens": 900, "completion_tokens_details": details});
    for (details, basis, tokens_out) in
        [(json!({"reasoning_tokens": 890}), "reported", 900), (json!({}), "counted", 1)]
    {
        let marker = unique_marker();
        let completion = Completion::of(&["Yes"]).raw_usage(usage(details));
        world.groq.script(&marker, [Behaviour::Complete(completion)]);
        tenant.ask(&json!({"input": marker, "max_tokens": MAX_TOKENS})).send().await.expect(200);
        let item = tenant.usage().await.remove(0);
        assert_eq!((text(&item["meta"], "basis"), whole(&item, "tokens_out")), (basis, tokens_out), "{item}");
    }
}
