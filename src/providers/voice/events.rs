//! What comes of a call, one after the other: the work goes on while somebody waits for the next.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, LocalBoxFuture, poll_fn, select};
use futures::{FutureExt, SinkExt, Stream};

/// Events of a call. Dropped, they end it.
pub struct Events<E> {
    came: mpsc::Receiver<E>,
    work: Option<LocalBoxFuture<'static, ()>>,
}

impl<E: 'static> Events<E> {
    /// `work` is done as far as its events are taken; when `stop` is told or it is `cancelled` nothing more is done of it.
    pub(super) fn of(
        work: impl AsyncFnOnce(&Teller<E>) -> E + 'static,
        stop: oneshot::Receiver<()>,
        cancelled: E,
    ) -> Self {
        let (tell, came) = mpsc::channel(0);
        let work = async move {
            let teller = Teller(tell);
            let stopped = async {
                // Whoever only lets go of the feed has not said that it shall end.
                if stop.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let last = {
                let work = work(&teller).boxed_local();
                match select(work, Box::pin(stopped)).await {
                    Either::Left((last, _)) => last,
                    Either::Right(_) => cancelled,
                }
            };
            teller.tell(last).await;
        };
        Self { came, work: Some(work.boxed_local()) }
    }

    /// The next one; `None` after the last. May be dropped and called again: nothing is lost by it.
    pub async fn next(&mut self) -> Option<E> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<E>> {
        if let Poll::Ready(next) = Pin::new(&mut self.came).poll_next(context) {
            return Poll::Ready(next);
        }
        if let Some(work) = &mut self.work
            && work.as_mut().poll(context).is_ready()
        {
            self.work = None;
        }
        Pin::new(&mut self.came).poll_next(context)
    }
}

/// Tells events, and waits until there is room for the next.
pub(super) struct Teller<E>(mpsc::Sender<E>);

impl<E> Teller<E> {
    pub async fn tell(&self, event: E) {
        // A sender of its own has room for one, so no more than that waits.
        let _nobody_waits_any_more = self.0.clone().send(event).await;
    }
}
