//! The client's end of a socket: of one that an actor opened, where the front door reads it for somebody else, and of one
//! at a provider.

use std::cell::Cell;
use std::rc::Rc;

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::{FutureExt, StreamExt};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::Response;

use super::now_ms;

#[wasm_bindgen]
extern "C" {
    type JsSocket;

    #[wasm_bindgen(method, catch)]
    fn accept(this: &JsSocket) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn send(this: &JsSocket, text: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = send)]
    fn send_bytes(this: &JsSocket, bytes: &Uint8Array) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn close(this: &JsSocket) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = addEventListener)]
    fn listen(this: &JsSocket, kind: &str, listener: &JsValue) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = removeEventListener)]
    fn forget(this: &JsSocket, kind: &str, listener: &JsValue) -> Result<(), JsValue>;

    type JsOpened;

    #[wasm_bindgen(method, getter, js_name = webSocket)]
    fn web_socket(this: &JsOpened) -> Option<JsSocket>;

    type JsEvent;

    #[wasm_bindgen(method, getter)]
    fn data(this: &JsEvent) -> JsValue;

    #[wasm_bindgen(method, getter)]
    fn code(this: &JsEvent) -> Option<u16>;

    #[wasm_bindgen(method, getter)]
    fn reason(this: &JsEvent) -> Option<String>;
}

/// The kinds of events of a socket, in the order of its listeners.
const KINDS: [&str; 3] = ["message", "close", "error"];

/// What comes of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    Text(String),
    /// It ended, with the code and the reason that its other end gave.
    Closed(u16, String),
}

/// The code of a socket that broke without a word.
const BROKEN: u16 = 1006;

/// An open socket. Dropped, it is closed.
pub struct ClientSocket {
    socket: JsSocket,
    /// The runtime calls these, so they must live as long as the socket is listened to.
    listeners: [Closure<dyn FnMut(JsEvent)>; 3],
    /// What came and was not asked for yet.
    came: UnboundedReceiver<Came>,
    /// How much that is, in bytes.
    unread_bytes: Rc<Cell<usize>>,
    /// When the last message came.
    came_ms: Rc<Cell<i64>>,
}

impl ClientSocket {
    /// The socket in `opened`, from now on read by us; `None` where there is none. How much may wait unread is the
    /// sender's to bound.
    pub fn accept(opened: &Response) -> Option<Self> {
        Self::accept_within(opened, usize::MAX)
    }

    /// The same, of a sender that is not trusted: where more than `unread_bytes_max` wait, the socket has ended.
    pub fn accept_within(opened: &Response, unread_bytes_max: usize) -> Option<Self> {
        let opened: &JsOpened = opened.unchecked_ref();
        let socket = opened.web_socket()?;
        let (sender, receiver) = unbounded();
        let (closes, breaks) = (sender.clone(), sender.clone());
        let unread_bytes = Rc::new(Cell::new(0_usize));
        let unread = Rc::clone(&unread_bytes);
        let came_ms = Rc::new(Cell::new(now_ms()));
        let last_ms = Rc::clone(&came_ms);
        let listeners = [
            Closure::new(move |event: JsEvent| {
                let Some(text) = event.data().as_string() else { return };
                last_ms.set(now_ms());
                let bytes = unread.get().saturating_add(text.len());
                // Once too much, always too much: nothing may be missing in the middle.
                let came = if bytes > unread_bytes_max {
                    unread.set(usize::MAX);
                    Came::Closed(BROKEN, String::new())
                } else {
                    unread.set(bytes);
                    Came::Text(text)
                };
                let _nobody_reads_any_more = sender.unbounded_send(came);
            }),
            Closure::new(move |event: JsEvent| {
                let closed = Came::Closed(event.code().unwrap_or(BROKEN), event.reason().unwrap_or_default());
                let _nobody_reads_any_more = closes.unbounded_send(closed);
            }),
            Closure::new(move |_: JsEvent| {
                let _nobody_reads_any_more = breaks.unbounded_send(Came::Closed(BROKEN, String::new()));
            }),
        ];
        for (kind, listener) in KINDS.iter().zip(&listeners) {
            socket.listen(kind, listener.as_ref()).ok()?;
        }
        socket.accept().ok()?;
        Some(Self { socket, listeners, came: receiver, unread_bytes, came_ms })
    }

    /// What came next. After the end there is nothing but the end.
    pub async fn next(&mut self) -> Came {
        let came = self.came.next().await.unwrap_or(Came::Closed(BROKEN, String::new()));
        self.read(came)
    }

    /// When the last message came, read or not; at first when the socket was opened.
    pub fn came_ms(&self) -> i64 {
        self.came_ms.get()
    }

    /// What came already, if anything did.
    pub fn waiting(&mut self) -> Option<Came> {
        let came = self.came.next().now_or_never()?;
        Some(self.read(came.unwrap_or(Came::Closed(BROKEN, String::new()))))
    }

    fn read(&self, came: Came) -> Came {
        let bytes = self.unread_bytes.get();
        if let (Came::Text(text), true) = (&came, bytes < usize::MAX) {
            self.unread_bytes.set(bytes.saturating_sub(text.len()));
        }
        came
    }

    /// Sends a message; what cannot be sent is of a socket whose end is on its way.
    pub fn send(&self, text: &str) {
        let _closing = self.socket.send(text);
    }

    /// Sends a message of bytes.
    pub fn send_bytes(&self, bytes: &[u8]) {
        let _closing = self.socket.send_bytes(&Uint8Array::from(bytes));
    }
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        for (kind, listener) in KINDS.iter().zip(&self.listeners) {
            let _forgotten = self.socket.forget(kind, listener.as_ref());
        }
        let _closed_already = self.socket.close();
    }
}
