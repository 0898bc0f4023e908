//! Waiting for a state that must come. A fixed sleep is either too short or wasted; this is neither.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

const PROBE_INTERVAL: Duration = Duration::from_millis(40);

/// Calls `probe` until it gives `Ok`, at most `bound` long; then panics with `what` and the last `Err`.
pub async fn eventually<T, E, P, F>(bound: Duration, what: &str, mut probe: P) -> T
where
    E: Debug,
    P: FnMut() -> F,
    F: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(reason) if started.elapsed() >= bound => {
                panic!("not within {bound:?}: {what}; last seen: {reason:?}")
            }
            Err(_) => tokio::time::sleep(PROBE_INTERVAL).await,
        }
    }
}
