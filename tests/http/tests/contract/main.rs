//! The contract in `verified` mode, topic by topic, on one stack that all tests share. Tests that need
//! another configuration, or that kill the stack, start one of their own.

mod adjust;
mod aliases;
mod bad_input;
mod broken_keys;
mod budget;
mod concurrency;
mod cookies;
mod crash;
mod cross_origin;
mod disconnect;
mod fallback;
mod forged_tokens;
mod grants;
mod guest_tokens;
mod holds;
mod hostile_paths;
mod hostile_providers;
mod idempotency;
mod identity;
mod insufficient_credits;
mod ledger;
mod max_credits;
mod metering;
mod operator;
mod pagination;
mod readiness;
mod request_form;
mod routes;
mod stream_failures;
mod streaming;
mod usage_basis;
mod usage_events;
