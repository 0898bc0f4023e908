//! Waiting with an end: a future raced against the runtime's timer.
//!
//! The SDK's own delay panics on current compatibility dates, where `setTimeout` returns an object.

use std::future::Future;
use std::pin::pin;

use futures::channel::oneshot;
use futures::future::{Either, select};
use wasm_bindgen::prelude::*;

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

/// Waits.
pub async fn sleep(ms: u32) {
    if let Some(mut timer) = Timer::start(ms) {
        let _rung = (&mut timer.rung).await;
    }
}
