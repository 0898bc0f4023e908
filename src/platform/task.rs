//! Futures of this isolate, polled where they are woken.
//!
//! The bindings' own executor makes a promise, two closures and a queued microtask of every wait. Here a wait is a
//! slot: the shell (`src/shell.js`) hears of the promise's end and calls back with the slot's number, in the context
//! of the request that waits, and what that wakes is polled before the call returns.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::{FutureExt, LocalBoxFuture};
use js_sys::Promise;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = cognomega)]
    fn settle(promise: &Promise, slot: u32);

    /// The same for a read of a stream: what it read, `undefined` at the stream's end.
    #[wasm_bindgen(js_namespace = cognomega, js_name = settleRead)]
    fn settle_read(promise: &Promise, slot: u32);

    #[wasm_bindgen(js_namespace = cognomega)]
    fn soon();

    #[wasm_bindgen(js_namespace = cognomega)]
    fn keep(event: &JsValue) -> u32;

    #[wasm_bindgen(js_namespace = cognomega)]
    fn finish(task: u32, value: &JsValue);

    /// The task waits for its client's body, from now on or no longer.
    #[wasm_bindgen(js_namespace = cognomega)]
    fn reading(task: u32, begins: bool);

    /// The instance is lost: nothing that waits in it ends.
    #[wasm_bindgen(js_namespace = cognomega)]
    fn aborted();
}

struct Task {
    future: LocalBoxFuture<'static, JsValue>,
    wakeup: Arc<Wakeup>,
}

/// What a slot knows of its promise.
enum Slot {
    Waiting(Option<Waker>),
    Settled(Result<JsValue, JsValue>),
}

thread_local! {
    static TASKS: RefCell<HashMap<u32, Task>> = RefCell::default();
    static READY: RefCell<VecDeque<u32>> = RefCell::default();
    static SLOTS: RefCell<HashMap<u32, Slot>> = RefCell::default();
    static LAST_SLOT: Cell<u32> = const { Cell::new(0) };
    /// The task that is being polled; zero outside of one.
    static CURRENT: Cell<u32> = const { Cell::new(0) };
    /// A loop over what is ready is running, or will soon.
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

/// A task's name, in the only form that a waker may hold.
struct Wakeup {
    task: u32,
    queued: AtomicBool,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        READY.with_borrow_mut(|ready| ready.push_back(self.task));
        if !RUNS.replace(true) {
            soon();
        }
    }
}

/// Begins the work of a request under the number the shell gave it: its value when it is there already, else
/// `undefined`, and the value comes by `finish`.
pub fn begin(task: u32, work: impl Future<Output = JsValue> + 'static) -> JsValue {
    add(task, work);
    let outer = RUNS.replace(true);
    let value = poll_ready(Some(task));
    RUNS.set(outer);
    value
}

/// Work that goes on when its request is answered or gone: the runtime keeps the event open for it.
pub fn keep_alive(event: &JsValue, work: impl Future<Output = ()> + 'static) {
    let task = keep(event);
    add(task, work.map(|()| JsValue::UNDEFINED));
    if !RUNS.replace(true) {
        soon();
    }
}

fn add(task: u32, work: impl Future<Output = JsValue> + 'static) {
    let wakeup = Arc::new(Wakeup { task, queued: AtomicBool::new(true) });
    TASKS.with_borrow_mut(|tasks| tasks.insert(task, Task { future: work.boxed_local(), wakeup }));
    READY.with_borrow_mut(|ready| ready.push_back(task));
}

/// Polls what is ready until nothing is. The value of `awaited` is returned, every other one handed to the shell.
fn poll_ready(awaited: Option<u32>) -> JsValue {
    let mut value = JsValue::UNDEFINED;
    while let Some(id) = READY.with_borrow_mut(VecDeque::pop_front) {
        // Taken out while it is polled, so that what it does may add others.
        let Some(mut task) = TASKS.with_borrow_mut(|tasks| tasks.remove(&id)) else {
            continue;
        };
        task.wakeup.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&task.wakeup));
        CURRENT.set(id);
        let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        CURRENT.set(0);
        match polled {
            Poll::Pending => drop(TASKS.with_borrow_mut(|tasks| tasks.insert(id, task))),
            Poll::Ready(done) if awaited == Some(id) => value = done,
            Poll::Ready(done) => finish(id, &done),
        }
    }
    value
}

/// A promise of `slot` ended.
#[wasm_bindgen]
pub fn resume(slot: u32, kept: bool, value: JsValue) {
    let settled = Slot::Settled(if kept { Ok(value) } else { Err(value) });
    let before = SLOTS.with_borrow_mut(|slots| {
        // A slot nobody waits for any more is gone already.
        slots.get_mut(&slot).map(|found| std::mem::replace(found, settled))
    });
    let outer = RUNS.replace(true);
    if let Some(Slot::Waiting(Some(waker))) = before {
        waker.wake();
    }
    poll_ready(None);
    RUNS.set(outer);
}

/// Polls what was woken from outside of a promise's end: by a timer, or by a signal.
#[wasm_bindgen]
pub fn run() {
    RUNS.set(true);
    poll_ready(None);
    RUNS.set(false);
}

/// Drops a task of which nothing was heard for long.
#[wasm_bindgen]
pub fn forget(task: u32) {
    drop(TASKS.with_borrow_mut(|tasks| tasks.remove(&task)));
}

/// Held while a client's body is read. A client may go away in the middle of it, and the runtime tells nobody: the
/// shell bounds how many such waits there are.
pub struct BodyWait {
    task: u32,
}

impl BodyWait {
    pub fn begin() -> Self {
        let task = CURRENT.get();
        reading(task, true);
        Self { task }
    }
}

impl Drop for BodyWait {
    fn drop(&mut self) {
        reading(self.task, false);
    }
}

/// Has the shell hear of every trap, wherever it happens: in a step, a timer or a listener. Asked of each new instance.
#[wasm_bindgen]
pub fn prepare() {
    fn on_abort() {
        wasm_bindgen::handler::schedule_reinit();
        aborted();
    }
    wasm_bindgen::handler::set_on_abort(on_abort);
}

/// The end of a promise.
pub struct Settled {
    slot: u32,
}

/// Waits for `promise` from now on.
pub fn settled(promise: &Promise) -> Settled {
    let slot = next_slot();
    settle(promise, slot);
    Settled { slot }
}

/// Waits for a stream's reader: its value is what it read, `undefined` at the stream's end.
pub fn settled_read(read: &Promise) -> Settled {
    let slot = next_slot();
    settle_read(read, slot);
    Settled { slot }
}

fn next_slot() -> u32 {
    let slot = LAST_SLOT.get().wrapping_add(1);
    LAST_SLOT.set(slot);
    SLOTS.with_borrow_mut(|slots| slots.insert(slot, Slot::Waiting(None)));
    slot
}

impl Future for Settled {
    type Output = Result<JsValue, JsValue>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        SLOTS.with_borrow_mut(|slots| match slots.remove(&self.slot) {
            Some(Slot::Settled(end)) => Poll::Ready(end),
            _ => {
                slots.insert(self.slot, Slot::Waiting(Some(context.waker().clone())));
                Poll::Pending
            }
        })
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        SLOTS.with_borrow_mut(|slots| drop(slots.remove(&self.slot)));
    }
}
