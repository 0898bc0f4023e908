//! Waiting with an end: a future raced against the runtime's timer.
//!
//! The SDK's own delay panics on current compatibility dates, where `setTimeout` returns an object.

use std::future::Future;
use std::pin::pin;

use futures::channel::oneshot;
use futures::future::{Either, select};
use wasm_bindgen::prelude::*;

use super::now_ms;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = setTimeout)]
    fn set_timeout(callback: &Closure<dyn FnMut()>, ms: f64) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(catch, js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue) -> Result<(), JsValue>;
}

/// A running timer; dropped, it is cleared, so that none outlives what it was for.
struct Timer {
    handle: JsValue,
    /// The runtime calls it, so it must live as long as the timer.
    _callback: Closure<dyn FnMut()>,
    rung: oneshot::Receiver<()>,
}

impl Timer {
    fn start(ms: u32) -> Option<Self> {
        let (ring, rung) = oneshot::channel();
        let mut ring = Some(ring);
        let callback = Closure::new(move || {
            if let Some(ring) = ring.take() {
                let _nobody_waits_any_more = ring.send(());
            }
        });
        let handle = set_timeout(&callback, f64::from(ms)).ok()?;
        Some(Self { handle, _callback: callback, rung })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let _cleared = clear_timeout(&self.handle);
    }
}

/// The wait ended before the work did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Runs `work` for `limit_ms` at most; zero or less is no time at all.
///
/// # Errors
/// [`Elapsed`], and `work` is dropped.
pub async fn within<T>(limit_ms: i64, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let limit_ms = u32::try_from(limit_ms).ok().filter(|ms| *ms > 0).ok_or(Elapsed)?;
    let mut timer = Timer::start(limit_ms).ok_or(Elapsed)?;
    match select(pin!(work), &mut timer.rung).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right(_) => Err(Elapsed),
    }
}

/// The same again and again, as for each piece of a stream: one timer for all of it, which is set anew only when it
/// rings before a wait has to end. Where pieces come quickly a timer for each would cost more than the piece, and the
/// runtime's heap would grow by what it keeps of each until it next looks for garbage.
#[derive(Default)]
pub struct Patience {
    running: Option<Running>,
}

struct Running {
    timer: Timer,
    rings_at_ms: i64,
}

impl Patience {
    /// As [`within`]. A wait that must end before the timer rings gets another timer.
    ///
    /// # Errors
    /// [`Elapsed`], and `work` is dropped.
    pub async fn within<T>(&mut self, limit_ms: i64, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        let end_ms = now_ms().saturating_add(limit_ms);
        let (mut work, mut left_ms) = (pin!(work), limit_ms);
        loop {
            let timer_ms = u32::try_from(left_ms).ok().filter(|ms| *ms > 0).ok_or(Elapsed)?;
            let kept = self.running.take().filter(|running| running.rings_at_ms <= end_ms);
            let mut running = match kept {
                Some(running) => running,
                None => Running { timer: Timer::start(timer_ms).ok_or(Elapsed)?, rings_at_ms: end_ms },
            };
            if let Either::Left((done, _)) = select(work.as_mut(), &mut running.timer.rung).await {
                self.running = Some(running);
                return Ok(done);
            }
            // It rang. Mostly for a wait that has ended in time, and then this one has time left.
            left_ms = end_ms.saturating_sub(now_ms());
        }
    }
}

/// Waits.
pub async fn sleep(ms: u32) {
    if let Some(mut timer) = Timer::start(ms) {
        let _rung = (&mut timer.rung).await;
    }
}
