//! Where an experiment is kept. A name that changed would be an experiment that is lost, so it is held against digests
//! that were made elsewhere (`printf 10:experiment7:summary | sha256sum`).

use super::stage::SKILL;
use crate::experiment::{actor_name, directory_name};

#[test]
fn an_actor_keeps_its_name() {
    let experiment = "v1-34a53fed028afaa866ef87574c4ee6070eea1f1ddaec796d6e4ce4275f1181b5";
    let directory = "v1-24ba76c7c754f1f26086c345f0922749fb03642e43fdc5608ec61df4cde5284b";
    assert_eq!((actor_name(SKILL).as_str(), directory_name().as_str()), (experiment, directory));
}
