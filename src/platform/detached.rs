//! Work that goes on when its client goes away, and knows that the client went.

use std::future::Future;

use futures::channel::oneshot;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::AbortSignal;

use super::task;

/// Runs `work` to its end even if the client disconnects, and waits for the one value it sends.
/// `None` when it ended without sending one.
pub async fn first_value<T: 'static, W>(
    event: &JsValue,
    work: impl FnOnce(oneshot::Sender<T>) -> W,
) -> Option<T>
where
    W: Future<Output = ()> + 'static,
{
    let (sender, receiver) = oneshot::channel();
    task::keep_alive(event, work(sender));
    receiver.await.ok()
}

/// Tells when the client of a request is gone.
pub struct ClientWatch {
    gone: futures::future::Shared<oneshot::Receiver<()>>,
    signal: AbortSignal,
    listener: Closure<dyn FnMut()>,
}

impl ClientWatch {
    pub fn new(signal: AbortSignal) -> Self {
        let (sender, receiver) = oneshot::channel();
        let mut sender = Some(sender);
        let listener = Closure::new(move || {
            if let Some(sender) = sender.take() {
                let _nobody_waits_any_more = sender.send(());
            }
        });
        let _listens = signal.add_event_listener_with_callback("abort", listener.as_ref().unchecked_ref());
        let gone = futures::FutureExt::shared(receiver);
        Self { gone, signal, listener }
    }

    pub fn is_gone(&self) -> bool {
        self.signal.aborted()
    }

    /// Runs `work` until it is done or the client is gone; then it is dropped, and `None` returned.
    pub async fn unless_gone<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if self.is_gone() {
            return None;
        }
        match futures::future::select(std::pin::pin!(work), self.gone.clone()).await {
            futures::future::Either::Left((done, _)) => Some(done),
            futures::future::Either::Right(_) => None,
        }
    }
}

impl Drop for ClientWatch {
    fn drop(&mut self) {
        let listener = self.listener.as_ref().unchecked_ref();
        let _removed = self.signal.remove_event_listener_with_callback("abort", listener);
    }
}
