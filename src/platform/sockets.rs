//! WebSockets that the runtime keeps while their actor sleeps, and what it keeps beside each for us.

use actors::events::{Ending, Listener};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

use super::log;

#[wasm_bindgen]
extern "C" {
    /// `DurableObjectState`, as far as actors need it.
    pub type ObjectState;

    #[wasm_bindgen(method, getter)]
    pub fn storage(this: &ObjectState) -> JsValue;

    #[wasm_bindgen(method, catch, js_name = getWebSockets)]
    fn web_sockets(this: &ObjectState) -> Result<js_sys::Array, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getWebSocketAutoResponseTimestamp)]
    fn pinged(this: &ObjectState, socket: &Socket) -> Result<Option<js_sys::Date>, JsValue>;

    /// The actor's end of a socket.
    #[derive(Clone)]
    pub type Socket;

    #[wasm_bindgen(method, catch, js_name = send)]
    fn send_text(this: &Socket, text: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = send)]
    fn send_binary(this: &Socket, bytes: &[u8]) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn close(this: &Socket, code: u16, reason: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = serializeAttachment)]
    fn attach(this: &Socket, value: &JsValue) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = deserializeAttachment)]
    fn attached(this: &Socket) -> Result<JsValue, JsValue>;

    /// A new socket, held by the runtime from now on. It answers `ping` with `pong` by itself, and wakes nobody for it.
    #[wasm_bindgen(catch, js_namespace = cognomega)]
    fn accept(state: &ObjectState) -> Result<JsPair, JsValue>;

    type JsPair;

    #[wasm_bindgen(method, getter)]
    fn server(this: &JsPair) -> Socket;

    /// The response that hands the other end to the client.
    #[wasm_bindgen(method, getter)]
    fn response(this: &JsPair) -> JsValue;
}

/// Opens a socket: our end of it, and the response for its client.
///
/// # Errors
/// The runtime's words.
pub fn open(state: &ObjectState) -> Result<(Socket, JsValue), String> {
    let pair = accept(state).map_err(|error| format!("{error:?}"))?;
    Ok((pair.server(), pair.response()))
}

/// Those that listen, with the state of each. One that was told to end has none any more.
pub fn listening(state: &ObjectState) -> Vec<(Socket, Listener)> {
    let sockets = state.web_sockets().unwrap_or_default();
    let with_state = |socket: JsValue| {
        let socket: Socket = socket.unchecked_into();
        let listener = socket.listener()?;
        Some((socket, listener))
    };
    sockets.iter().filter_map(with_state).collect()
}

/// All that are open, whatever is kept beside them.
pub fn all(state: &ObjectState) -> impl Iterator<Item = Socket> {
    let sockets: Vec<JsValue> = state.web_sockets().unwrap_or_default().iter().collect();
    sockets.into_iter().map(JsValue::unchecked_into)
}

/// When the runtime last answered a ping of it.
pub fn pinged_ms(state: &ObjectState, socket: &Socket) -> Option<i64> {
    let date = state.pinged(socket).ok().flatten()?;
    #[allow(clippy::cast_possible_truncation)]
    let at_ms = date.get_time() as i64;
    Some(at_ms)
}

impl Socket {
    /// What is kept beside it; `None` for one that was told to end.
    pub fn listener(&self) -> Option<Listener> {
        self.kept()
    }

    /// What is kept beside it; `None` where that is nothing, or something else.
    pub fn kept<T: DeserializeOwned>(&self) -> Option<T> {
        let text = self.attached().ok()?.as_string()?;
        serde_json::from_str(&text).ok()
    }

    /// Keeps `value` beside it; whether it is kept.
    pub fn keep_beside(&self, value: &impl Serialize) -> bool {
        let text = serde_json::to_string(value);
        text.is_ok_and(|text| self.attach(&JsValue::from_str(&text)).is_ok())
    }

    /// Sends one message of bytes; as [`Socket::send`].
    pub fn send_bytes(&self, bytes: &[u8]) -> bool {
        self.send_binary(bytes).is_ok()
    }

    /// Ends it with a code and in words. What is kept beside it stays.
    pub fn end_with(&self, code: u16, reason: &str) {
        let _closing_already = self.close(code, reason);
    }

    /// Keeps `listener` beside it, for as long as it is open.
    pub fn keep(&self, listener: &Listener) {
        if !self.keep_beside(listener) {
            log::fault("socket_state_not_kept", "what is kept beside a socket could not be written");
            self.end(Ending::Unavailable);
        }
    }

    /// Sends one message; what cannot be sent is of a socket that is closing, whose client comes back.
    pub fn send(&self, text: &str) -> bool {
        self.send_text(text).is_ok()
    }

    /// Ends it. It listens no more from now on, whenever the client hears of it.
    pub fn end(&self, ending: Ending) {
        let _gone_already = self.attach(&JsValue::NULL);
        let _closing_already = self.close(ending.code(), ending.reason());
    }
}
