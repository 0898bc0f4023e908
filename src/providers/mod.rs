//! Model providers: asking one, asking the next when it fails, and reading what comes back with distrust.
//!
//! Owns: deadlines, fallback, retries, breakers, formats of providers. Never does: credits; who pays is settled elsewhere.

mod answer;
mod attempts;
mod breaker;
mod breakers;
mod chat;
mod count;
mod failure;
mod images;
mod openai_compatible;
mod orchestrator;
mod piece_stream;
mod recent;
mod schedule;
mod sse;
mod whole_request;
mod workers_ai;

pub use answer::{Answer, Basis, TokenUsage};
pub use attempts::{Answered, Attempt, Failed, stream_failed};
pub use breaker::Shown;
pub use breakers::health;
pub use chat::{BYTES_PER_TOKEN_MAX, ChatRequest, Produced, Prompt};
pub use failure::{Deadline, Failure};
pub use images::Image;
pub use orchestrator::{complete, complete_with, open_stream};
pub use piece_stream::{Batch, Piece, PieceStream};
pub use recent::WINDOW_MS;
pub use whole_request::{Members, WholeRequest};
