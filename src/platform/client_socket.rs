//! The client's end of a socket that an actor opened, where the front door reads it for somebody else.

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use wasm_bindgen::prelude::*;
use web_sys::Response;

#[wasm_bindgen]
extern "C" {
    type JsSocket;

    #[wasm_bindgen(method, catch)]
    fn accept(this: &JsSocket) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn send(this: &JsSocket, text: &str) -> Result<(), JsValue>;

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
    /// What came and was not asked for yet. How much that can be is the sender's to bound.
    came: UnboundedReceiver<Came>,
}

impl ClientSocket {
    /// The socket in `opened`, from now on read by us; `None` where there is none.
    pub fn accept(opened: &Response) -> Option<Self> {
        let opened: &JsOpened = opened.unchecked_ref();
        let socket = opened.web_socket()?;
        let (sender, receiver) = unbounded();
        let (closes, breaks) = (sender.clone(), sender.clone());
        let listeners = [
            Closure::new(move |event: JsEvent| {
                if let Some(text) = event.data().as_string() {
                    let _nobody_reads_any_more = sender.unbounded_send(Came::Text(text));
                }
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
        Some(Self { socket, listeners, came: receiver })
    }

    /// What came next. After the end there is nothing but the end.
    pub async fn next(&mut self) -> Came {
        self.came.next().await.unwrap_or(Came::Closed(BROKEN, String::new()))
    }

    /// Sends a message; what cannot be sent is of a socket whose end is on its way.
    pub fn send(&self, text: &str) {
        let _closing = self.socket.send(text);
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
