//! Jobs by the thousand: watched live without a gap, and in memory that does not grow. Apart from the other tests of jobs,
//! which have bounds of time that these would use up.

mod live;
mod memory;
mod stage;
