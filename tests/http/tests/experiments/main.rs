//! Experiments on real workerd: which arm answers whom, what feedback counts, and what operators decide.

mod asked;
mod feedback;
mod learning;
mod operator;
mod restart;
mod stage;
mod versions;
