//! The cron trigger, every five minutes: a line in the log that says whether this deployment can serve, so that a broken
//! configuration is seen before a client meets it; and a sweep over actors that have jobs.
//!
//! An actor's alarm does all that is due of its jobs, and sets itself again. The platform gives up an alarm whose handler
//! failed some times; then the actor is woken by its next command, and one that is quiet never. So each actor that has
//! jobs is asked something now and then: waking, it has its alarm set for what is due.

use actors::tenant::Command;
use futures::future::join_all;
use worker::Env;

use crate::platform::tenant_stub::{self, Origin};
use crate::platform::{chance, config, log, random_id, with_jobs};

/// Between two runs.
const EVERY_MS: i64 = 300_000;
/// Parts of all actors, by the first digit of their names' digests: one a run, so each is asked every 80 minutes.
const PARTS: i64 = 16;
/// Actors that one run asks, and how many at a time. Where a part has more, each run takes others of it.
const ACTORS_MAX: usize = 400;
const AT_ONCE: usize = 20;

/// `at_ms` is the time that the trigger is for.
pub async fn run(env: &Env, at_ms: i64) {
    let config = config::get(env);
    for problem in &config.problems {
        log::fault("misconfigured", &format!("{}: {}", problem.variable, problem.cure));
    }
    if let Err(problem) = &config.signing {
        log::fault("signing_unconfigured", problem.cure());
    }
    let providers: Vec<&str> = config.providers.iter().map(|provider| &*provider.name).collect();
    log::self_check(config.problems.is_empty() && config.signing.is_ok(), &providers);
    sweep(env, at_ms).await;
}

async fn sweep(env: &Env, at_ms: i64) {
    let request_id = random_id();
    let mut actors = match with_jobs::names(env, &prefix(at_ms)).await {
        Ok(actors) => actors,
        Err(detail) => return log::fault_of(&request_id, "sweep_failed", &detail),
    };
    if actors.len() > ACTORS_MAX {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let from = (chance() * actors.len() as f64) as usize;
        let from = from.min(actors.len());
        actors.rotate_left(from);
        actors.truncate(ACTORS_MAX);
    }
    let origin = Origin { env, request_id: &request_id };
    for some in actors.chunks(AT_ONCE) {
        // What is asked does not matter, and that no key is empty is no secret.
        let ask = |actor| tenant_stub::send_to(origin, actor, Command::Identify { digest: String::new() });
        let _woken = join_all(some.iter().map(|actor| ask(actor))).await;
    }
    log::sweep(&request_id, actors.len());
}

/// How the names begin that are this run's.
fn prefix(at_ms: i64) -> String {
    format!("v1-{:x}", at_ms.div_euclid(EVERY_MS).rem_euclid(PARTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_actor_is_some_runs() {
        let all: std::collections::BTreeSet<String> =
            (0..PARTS).map(|run| prefix(run * EVERY_MS + 7)).collect();
        let digits = "0123456789abcdef".chars().map(|digit| format!("v1-{digit}"));
        assert_eq!(all, digits.collect());
    }
}
