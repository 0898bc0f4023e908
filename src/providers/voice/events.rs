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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Says when it is dropped.
    struct Held(Rc<Cell<bool>>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    fn now<E: 'static>(events: &mut Events<E>) -> Option<Option<E>> {
        events.next().now_or_never()
    }

    /// Tells three numbers, and counts how far it has come.
    fn three(gone: Rc<Cell<u32>>, stop: oneshot::Receiver<()>) -> Events<i32> {
        let work = async move |teller: &Teller<i32>| {
            for number in 1..=3 {
                teller.tell(number).await;
                gone.set(gone.get() + 1);
            }
            0
        };
        Events::of(work, stop, -1)
    }

    #[test]
    fn work_goes_no_further_than_its_events_are_taken() {
        let (gone, (stop, stopped)) = (Rc::new(Cell::new(0)), oneshot::channel());
        let mut events = three(Rc::clone(&gone), stopped);
        assert_eq!(gone.get(), 0);
        for taken in 1..=3 {
            assert_eq!(now(&mut events), Some(Some(taken)));
            assert_eq!(gone.get(), u32::try_from(taken).unwrap() - 1);
        }
        // Who lets go of the feed has not cancelled.
        drop(stop);
        assert_eq!((now(&mut events), now(&mut events)), (Some(Some(0)), Some(None)));
    }

    #[test]
    fn a_cancelled_call_ends_what_it_holds_and_says_so_last() {
        let (ended, (stop, stopped)) = (Rc::new(Cell::new(false)), oneshot::channel());
        let held = Held(Rc::clone(&ended));
        let work = async move |teller: &Teller<i32>| {
            let _held = held;
            teller.tell(1).await;
            std::future::pending().await
        };
        let mut events = Events::of(work, stopped, -1);
        assert_eq!(now(&mut events), Some(Some(1)));
        assert_eq!(now(&mut events), None, "it waits");
        stop.send(()).unwrap();
        assert!(!ended.get());
        assert_eq!(now(&mut events), Some(Some(-1)));
        assert!(ended.get());
        assert_eq!(now(&mut events), Some(None));
    }

    #[test]
    fn dropped_events_end_the_call() {
        let (ended, (_stop, stopped)) = (Rc::new(Cell::new(false)), oneshot::channel());
        let held = Held(Rc::clone(&ended));
        let work = async move |_: &Teller<i32>| {
            let _held = held;
            std::future::pending().await
        };
        let mut events = Events::of(work, stopped, -1);
        assert_eq!(now(&mut events), None);
        drop(events);
        assert!(ended.get());
    }
}
