//! `/v1/audio`: speech and transcripts by OpenAI's forms, metered as an ask is.

mod cartesia;
mod speech;
mod speech_faults;
mod speech_keys;
mod stage;
mod transcription;
mod transcription_faults;
mod transcription_forms;
mod transcription_streams;
