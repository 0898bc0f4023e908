mod beta;
mod chance;
mod conduct;
mod limits;
mod names;
mod odds;
mod simulation;
mod stage;
