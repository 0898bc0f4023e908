//! The abuse table of the front door, in both identity modes and on all aliases. `single.rs` is the list to read: the
//! number of a case, the request, what it is told. `many.rs` has the cases that are more than one request.
//!
//! `make abuse-table` writes what was observed to `ops/proofs/abuse.md`.

#[allow(dead_code, reason = "the contract tests use more of it")]
#[path = "../contract/aliases.rs"]
mod aliases;
mod jobs;
mod many;
mod money;
mod single;
mod sockets;
mod stage;
mod stages_of_their_own;
mod table;
mod uploads;
mod voice;

use http_tests::world::World;
use serde_json::json;
use single::{CASES, LATER};
use stage::Stage;
use table::{Mode, Seen};

const CASES_IN_ALL: u8 = 38;
/// Where the page is written; a run without it only prints.
const REPORT: &str = "ABUSE_REPORT";

const INTRODUCTION: &str = "# The abuse table\n\n\
    Written by `make abuse-table` from the replies of the release bundle on workerd; no line of it is typed. Each case \
    of the table is sent in both identity modes and to every alias of its path. In `asserted` mode, which is for \
    development, an address is believed where nothing speaks against it; the cases say `served` there. The requests \
    are in `tests/http/tests/abuse/`.\n\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_case_in_both_modes_and_on_all_aliases() {
    let seen = Seen::default();
    for mode in Mode::ALL {
        let mut world = World::private(json!({"IDENTITY_MODE": mode.name()})).await;
        world.stack.put_kv("KEYS", "jwks", Some(&many::stored_keys()));
        let stage = Stage::set(&world, mode).await;
        singles(&stage, &seen).await;
        many::run(&stage, &seen).await;
        money::run(&stage, &seen).await;
        jobs::run(&stage, &seen).await;
        sockets::run(&stage, &seen).await;
        voice::run(&stage, &seen).await;
        uploads::run(&stage, &seen).await;
        many::secrets(&stage, &seen);
        drop(stage);
        drop(world);
        stages_of_their_own::run(mode, &seen).await;
    }
    let page = seen.page();
    println!("{page}");
    if let Ok(path) = std::env::var(REPORT) {
        std::fs::write(&path, format!("{INTRODUCTION}{page}")).expect("the report is written");
    }
    assert_eq!(seen.wrong(), [""; 0]);
    for mode in Mode::ALL {
        assert_eq!(seen.numbers(mode), (1..=CASES_IN_ALL).collect::<Vec<_>>(), "{}", mode.name());
    }
}

/// The cases that are one request, on each of their routes, and the parts that are not built.
async fn singles(stage: &Stage<'_>, seen: &Seen) {
    for case in CASES {
        for (method, path) in (case.on)() {
            let honest = aliases::good_call(&stage.client, &method, path);
            let reply = (case.send)(stage, honest).send().await;
            seen.reply(case, stage.mode, &format!("{method} {path}"), &reply);
        }
    }
    assert!(stage.lure.all_calls().is_empty(), "a forged header made the Worker fetch");
    for later in LATER {
        let call = stage.client.call(later.method.clone(), later.path).user(&stage.me.email);
        let reply = call.send().await;
        let observed = format!("{} {}", reply.status, reply.error());
        let route = format!("{} {}", later.method, later.path);
        let expected = "501 not_implemented";
        seen.note((later.number, later.what), stage.mode, &route, expected, &observed, observed == expected);
    }
}
