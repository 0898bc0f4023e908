//! The front door: who is calling, may this page call us, which route, and the reply's exact form.
//!
//! Owns: the route table, identity, CORS, limits, replies. Never does: change a tenant's state; that is
//! asked of its actor.

mod address_limits;
mod admin;
mod admin_key;
mod ai_binding;
mod answering;
mod api_key;
mod ask;
mod ask_form;
pub(crate) mod attached_room;
mod attachment_content;
mod attachment_frame;
pub(crate) mod attachments;
pub(crate) mod audio;
mod auth;
pub(crate) mod catalog;
mod chat;
mod chat_form;
mod chat_question;
mod context;
mod cookie;
mod cors;
mod credentials;
mod credits;
mod delivery;
mod dispatch;
mod embeddings;
pub(crate) mod error;
mod error_message;
#[cfg(test)]
mod error_page;
mod event_stream;
mod events;
mod exchange;
mod experiments;
mod feedback;
mod form;
mod health;
mod idempotency_key;
pub(crate) mod identity;
mod inbound;
mod issuer_keys;
mod jobs;
pub(crate) mod json_body;
mod jwks;
mod jwt;
mod kept_answer;
mod keys;
mod known_experiments;
mod known_keys;
mod ledger;
pub(crate) mod limits;
pub(crate) mod meter;
pub(crate) mod models;
mod moment;
pub(crate) mod offer;
mod openai_error;
mod openapi;
pub(crate) mod operation;
mod outlet;
#[cfg(feature = "parsers")]
pub mod parsers;
mod prices;
pub(crate) mod pricing;
mod provider_health;
mod query;
pub(crate) mod question;
mod refusals;
mod reply;
mod response_cache;
mod routed_secret;
mod routes;
mod skill_versions;
mod skills;
mod tenant_limits;
mod tickets;
mod tokens;
mod turnstile;
mod upload;
mod upload_key;
mod usage;
mod variant;
mod waiters;

pub use dispatch::{lost, serve};
