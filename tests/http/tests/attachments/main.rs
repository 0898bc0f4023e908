//! Uploads, and asks that name them: what reaches the provider, what it costs, and what is refused.

mod charges;
mod images;
mod keys_of_others;
mod limits;
mod stage;
mod texts;
mod uploads;
mod uploads_refused;
