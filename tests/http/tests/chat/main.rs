//! `/v1/chat/completions` and `/v1/models`: what OpenAI's clients send and read, metered as an ask is.

mod embeddings;
mod errors;
mod kept_responses;
mod long_streams;
mod models;
mod routing;
mod stage;
mod streams;
mod whole;
