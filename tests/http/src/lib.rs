//! The harness of the black-box tests: it starts the release bundle on real workerd, gives it scripted
//! providers to talk to, and looks at it only through HTTP, its log and its exit.
//!
//! Nothing here knows how the Worker is made. Tests of one topic live in one file under `tests/`.

pub mod artifacts;
pub mod background;
pub mod cartesia;
pub mod client;
pub mod contract;
pub mod event_stream;
pub mod house_rules;
pub mod json_service;
pub mod key_tool;
pub mod keys;
pub mod memory;
pub mod oidc_provider;
pub mod poll;
pub mod process_log;
pub mod provider;
pub mod provider_call;
pub mod provider_reply;
pub mod provider_script;
pub mod rate_limit;
pub mod raw_http;
pub mod recording;
pub mod secrets;
pub mod stack;
pub mod tokens;
pub mod uploads;
pub mod vars;
pub mod voice_breaker;
pub mod voice_client;
pub mod voice_drops;
pub mod voice_provider;
pub mod voice_wire;
pub mod web_socket;
pub mod webhook_receiver;
pub mod world;
