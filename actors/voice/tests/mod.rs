//! Sessions on the SQL that ships, with a host and a client around them.

mod client;
mod conduct;
mod host;
mod links;
mod money;
mod parsers;
mod points;
mod random;
