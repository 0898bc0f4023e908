//! Model providers: asking one, asking the next when it fails, and reading what comes back with distrust.
//!
//! Owns: deadlines, fallback, retries, breakers, formats of providers. Never does: credits; who pays is settled elsewhere.

mod answer;
mod attempts;
mod breaker;
mod breakers;
mod byte_stream;
// Its sockets are for turns of voice.
mod cartesia;
mod chat;
mod count;
mod failure;
mod heard;
mod images;
mod openai_compatible;
mod orchestrator;
mod piece_stream;
mod recent;
mod reported;
mod schedule;
mod sound_length;
mod speech;
mod sse;
mod transcription;
pub mod voice;
mod whole_request;
mod workers_ai;

pub use answer::{Answer, Basis, TokenUsage};
pub use attempts::{Answered, Attempt, Failed, stream_failed};
pub use breaker::Shown;
pub use breakers::{health, usage_flagged};
pub use byte_stream::ByteStream;
pub use chat::{BYTES_PER_TOKEN_MAX, ChatRequest, Produced, Prompt};
pub use failure::{Deadline, Failure};
pub use images::Image;
pub use orchestrator::{complete, complete_with, open_stream};
pub use piece_stream::{Batch, Piece, PieceStream};
pub use recent::WINDOW_MS;
pub use reported::{Disbelieved, Flag};
pub use sound_length::{HEAD_BYTES_MAX, SoundLength};
pub use speech::{SpeechFormat, SpeechRequest, Wish, speak};
pub use transcription::{
    Reported, Transcript, TranscriptFormat, TranscriptionRequest, UsageWatch, transcribe,
    transcribe_in_events,
};
pub use whole_request::{Members, WholeRequest};
