//! Voice sessions on real workerd: spoken turns, money, sockets that are lost, taken over and refused.

mod crash;
mod lines;
mod money;
mod prefs;
mod sessions;
mod stage;
mod tickets;
mod turns;
