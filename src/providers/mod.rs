//! Model providers: asking one, asking the next when it fails, and reading what comes back with distrust.
//!
//! Owns: deadlines, fallback, formats of providers. Never does: credits; who pays is settled elsewhere.

mod answer;
mod chat;
mod count;
mod failure;
mod openai_compatible;
mod orchestrator;
mod piece_stream;
mod sse;
mod workers_ai;

pub use answer::{Answer, TokenUsage};
pub use chat::ChatRequest;
pub use count::{TokenCounter, count_prompt, estimate_prompt_tokens};
pub use failure::Failure;
pub use orchestrator::{complete, complete_with, open_stream};
pub use piece_stream::PieceStream;
