mod beta;
mod chance;
mod conduct;
mod limits;
mod odds;
mod simulation;
mod stage;
