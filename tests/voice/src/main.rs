//! The rules behind real sockets, with a provider, for clients in other languages: says where it listens in one line of
//! JSON, and ends when its stdin does.

use actors::voice::Settings;
use http_tests::voice_provider::VoiceProvider;
use serde_json::json;
use std::io::{Read, Write};
use voice_tests::server::Server;

#[tokio::main]
async fn main() {
    let window_ms = std::env::args().nth(1).map_or(Ok(8_000), |text| text.parse()).expect("a window in ms");
    let provider = VoiceProvider::start().await;
    let settings = Settings { window_ms, ..Settings::default() };
    let server = Server::start(settings, provider.base()).await;
    let line = json!({"origin": format!("http://{}", server.address())});
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).expect("somebody listens");
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    drop(ended.await);
}
