//! What comes of a call, one after the other: the work goes on while somebody waits for the next.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::future::{LocalBoxFuture, poll_fn};
use futures::{FutureExt, SinkExt, Stream};

/// Events of a call. Dropped, they end it.
pub struct Events<E> {
    came: mpsc::Receiver<E>,
    work: Option<LocalBoxFuture<'static, ()>>,
}

impl<E: 'static> Events<E> {
    /// `work` is done as far as its events are taken. What it gives is the last of them.
    pub(super) fn of(work: impl AsyncFnOnce(&Teller<E>) -> E + 'static) -> Self {
        let (tell, came) = mpsc::channel(0);
        let work = async move {
            let teller = Teller(tell);
            let last = work(&teller).await;
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
    fn three(gone: Rc<Cell<u32>>) -> Events<i32> {
        let work = async move |teller: &Teller<i32>| {
            for number in 1..=3 {
                teller.tell(number).await;
                gone.set(gone.get() + 1);
            }
            0
        };
        Events::of(work)
    }

    #[test]
    fn work_goes_no_further_than_its_events_are_taken() {
        let gone = Rc::new(Cell::new(0));
        let mut events = three(Rc::clone(&gone));
        assert_eq!(gone.get(), 0);
        for taken in 1..=3 {
            assert_eq!(now(&mut events), Some(Some(taken)));
            assert_eq!(gone.get(), u32::try_from(taken).unwrap() - 1);
        }
        assert_eq!((now(&mut events), now(&mut events)), (Some(Some(0)), Some(None)));
    }

    #[test]
    fn dropped_events_end_the_call() {
        let ended = Rc::new(Cell::new(false));
        let held = Held(Rc::clone(&ended));
        let work = async move |_: &Teller<i32>| {
            let _held = held;
            std::future::pending().await
        };
        let mut events = Events::of(work);
        assert_eq!(now(&mut events), None);
        drop(events);
        assert!(ended.get());
    }
}
