//! Jobs, made and watched as clients do, on real workerd: with its queue, its alarms and its workers.

mod attached;
mod batches;
mod crash;
mod kinds;
mod life;
mod live;
mod queue;
mod schedules;
mod stage;
mod tenants;
mod transcribe;
