//! WebSockets: tickets that open one, and live events over it, on real workerd.

mod event_stream;
mod events;
mod limits;
mod restart;
mod stage;
mod tickets;
