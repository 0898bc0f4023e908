//! Cartesia's official clients, for Node and for Python, pointed at the stand-in for it: what they understand of it, our own
//! code is tested against. Their sound and texts are compared in `cartesia.mjs` and `cartesia_sdk.py`, the ledger here.

use super::{Client, clients};
use http_tests::cartesia::ledger::Entry;
use http_tests::cartesia::script::{Play, Trouble};
use http_tests::cartesia::sound::sound_of;
use http_tests::cartesia::{Cartesia, KEY};
use std::ffi::OsStr;
use std::time::Duration;

/// What the clients say aloud, and what is then read out of the sound.
const TEXT: &str = "The road goes ever on and on.";
const HZ: u32 = 16_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients' packages: make test-sdk"]
async fn cartesia_s_official_clients_understand_its_stand_in() {
    for client in clients("cartesia.mjs", "cartesia_sdk.py") {
        let cartesia = Cartesia::start().await;
        cartesia.script("sdk-error", [Play::trouble(1, Trouble::Error(429))]);
        cartesia.script("sdk-slow", [Play::paced(Duration::from_millis(50))]);
        let said = run(&cartesia, &client);
        println!("## {}: Cartesia\n\n```\n{said}```\n", client.name);
        let ledger = cartesia.ledger();
        let of =
            |path: &str| ledger.all().into_iter().filter(|entry| entry.path == path).collect::<Vec<Entry>>();
        let characters = |path: &str| of(path).iter().map(|entry| entry.characters).sum::<u64>();
        let length = TEXT.chars().count() as u64;
        assert_eq!(
            characters("/tts/bytes"),
            2 * length,
            "once as WAV and once as MP3: {:?}",
            of("/tts/bytes")
        );
        assert_eq!(characters("/tts/sse"), length);
        let heard: Vec<u64> = of("/stt/websocket").iter().map(|entry| entry.heard_ms).collect();
        assert_eq!(heard, [length * 40, length * 40], "two utterances over one socket");
        assert_eq!(of("/stt").iter().map(|entry| entry.heard_ms).collect::<Vec<_>>(), [length * 40]);
        let cancelled: Vec<Entry> = ledger.with("sdk-slow");
        assert!(cancelled.iter().any(|entry| entry.cancelled && entry.sent_bytes < entry.text.len() * 1_280));
        // What the scripts did wrong on purpose.
        let mut refusals = ledger.refusals();
        refusals.sort();
        let expected =
            ["a field of the context has changed", "the context is over", "the key is missing or not known"];
        assert_eq!(refusals, expected);
    }
}

fn run(cartesia: &Cartesia, client: &Client) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let sound = folder.path().join("sound.pcm");
    std::fs::write(&sound, sound_of(TEXT, HZ)).expect("the sound is written");
    client.run(&[
        ("BASE_URL", OsStr::new(&cartesia.origin())),
        ("API_KEY", OsStr::new(KEY)),
        ("TEXT", OsStr::new(TEXT)),
        ("SOUND", sound.as_os_str()),
    ])
}
