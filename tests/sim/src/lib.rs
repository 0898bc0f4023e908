//! The simulator: seeded schedules of clients, faults and clock steps over the rules of an actor, beside a model
//! that says what must come of them.
//!
//! A seed makes a list of steps ([`scenario`]); the list is carried out by a world ([`world`]) that owns the
//! database, the clock and the clients; after every step the model ([`model`]) and the database are compared, and
//! the invariants of the architecture are looked up in the database itself ([`check`]). Steps name what they act
//! on loosely ("an open request"), so any part of a list is a list: that is how a failing run is made short
//! ([`shrink`]).
//!
//! Nothing here reads a wall clock or draws a random number that is not of the seed.

// An allocator made for many small and short-lived pieces, which is what rules, statements and checks allocate. It takes
// the place of `malloc` for all of them: asked directly, it is asked for alignment each time, and is slower.
extern crate mimalloc as _;

pub mod check;
pub mod command;
pub mod exhaust;
pub mod fault;
pub mod job_command;
pub mod model;
pub mod pool;
pub mod run;
pub mod runner;
pub mod scenario;
pub mod settings;
pub mod shell;
pub mod shrink;
pub mod step;
pub mod tally;
pub mod world;
