//! The cron trigger, every five minutes: a line in the log that says whether this deployment can serve, so
//! that a broken configuration is seen before a client meets it.

use worker::Env;

use crate::platform::{config, log};

pub fn run(env: &Env) {
    let config = config::get(env);
    for problem in &config.problems {
        log::fault("misconfigured", &format!("{}: {}", problem.variable, problem.cure));
    }
    if let Err(problem) = &config.signing {
        log::fault("signing_unconfigured", problem.cure());
    }
    let providers: Vec<&str> = config.providers.iter().map(|provider| &*provider.name).collect();
    log::self_check(config.problems.is_empty() && config.signing.is_ok(), &providers);
}
