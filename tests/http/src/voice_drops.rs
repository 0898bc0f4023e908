//! The matrix of drops: at each of 16 points of a turn, in each of 6 ways, for each of 4 lengths of time, a client is cut
//! off and comes back. What it has in the end is what it has undisturbed, to the byte; providers were asked no more, and
//! the tenant is charged no more.

mod cell;
mod judge;
mod matrix;
mod play;
mod report;
mod stage;

pub use cell::{Cell, Drop, Gap, Point, Window};
pub use judge::{Found, Outcome};
pub use matrix::{Judged, cells, every_point_and_a_tenth, random_runs, run};
pub use report::{Summary, table};
pub use stage::{Account, Opened, Stage, TurnAccount, Units};
