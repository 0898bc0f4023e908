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
mod whole_request;
mod workers_ai;

pub use answer::{Answer, TokenUsage};
pub use chat::{ChatRequest, Produced, Prompt};
pub use failure::Failure;
pub use orchestrator::{Failed, complete, complete_with, open_stream};
pub use piece_stream::{Batch, Piece, PieceStream};
pub use whole_request::{Members, WholeRequest};
