//! The gateway between a request and its providers: fallback, rounds, breakers, hedging, deadlines.
//!
//! `faults.rs` is the list to read: what a provider may do, and what becomes of the request. Its replies make
//! `ops/proofs/provider-faults.md`, which `make provider-faults` writes.

mod breaker;
mod fault_table;
mod faults;
mod faults_of_streams;
mod further;
mod hedge;
mod raw_provider;
mod retries;
mod usage_flags;
