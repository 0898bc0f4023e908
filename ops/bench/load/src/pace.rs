//! When requests begin: at once, or at a steady rate that does not care how long answers take.

use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub enum Pace {
    /// As soon as a connection is free.
    AtOnce,
    /// At the intended times, which are what latencies are counted from.
    Steady(Mutex<UnboundedReceiver<Instant>>),
}

impl Pace {
    pub fn new(interval: Option<Duration>) -> Self {
        match interval {
            None => Self::AtOnce,
            Some(interval) => Self::Steady(Mutex::new(ticking(interval))),
        }
    }

    /// Waits until the next request may begin, and says from when its time counts.
    pub async fn next(&self) -> Instant {
        match self {
            Self::AtOnce => Instant::now(),
            // The sender only ends together with this.
            Self::Steady(times) => times.lock().await.recv().await.unwrap_or_else(Instant::now),
        }
    }
}

/// A thread that sleeps, because the runtime's own timers are a millisecond coarse.
fn ticking(interval: Duration) -> UnboundedReceiver<Instant> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        let mut at = Instant::now();
        while sender.send(at).is_ok() {
            let Some(next) = at.checked_add(interval) else { return };
            at = next;
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
        }
    });
    receiver
}
