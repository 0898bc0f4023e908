//! A voice session without a Worker: the rules and the SQL that ship, on SQLite, behind real sockets, in this process.
//!
//! It starts in no time and needs no build, so clients and the matrix of drops are tried on it first; what holds here has
//! to hold on workerd as well, where the same client and the same matrix run.

mod calls;
pub mod server;
mod session;
