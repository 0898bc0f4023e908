//! Reads a reply in the event-stream form as it comes, by the rules of the HTML standard.

use crate::client::{Reply, Target};
use crate::house_rules;
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::time::Duration;

/// Longer than any gap a test scripts between two pieces.
const ITEM_TIMEOUT: Duration = Duration::from_secs(30);

/// One thing a stream carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A line that began with a colon, without the colon and one blank.
    Comment(String),
    /// `name` is empty for an unnamed event.
    Event { name: String, data: String },
}

/// A reply that is still coming. Dropping it closes the connection.
pub struct EventStream {
    pub status: u16,
    pub headers: HeaderMap,
    body: BoxStream<'static, Result<Bytes, reqwest::Error>>,
    pending: BytesMut,
    /// The last line ended with CR; an LF right after it belongs to that end.
    after_cr: bool,
    name: String,
    data: Vec<String>,
    target: Target,
}

/// Everything a stream carried, after its end.
#[derive(Clone, Debug)]
pub struct Transcript {
    pub items: Vec<Item>,
    /// The connection broke instead of ending.
    pub broken: bool,
}

impl EventStream {
    pub fn new(response: reqwest::Response, target: Target) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes_stream().boxed(),
            pending: BytesMut::new(),
            after_cr: false,
            name: String::new(),
            data: Vec::new(),
            target,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Panics unless this is a stream and no refusal.
    pub async fn expect_stream(self) -> Self {
        let content_type = self.header("content-type").unwrap_or_default();
        if self.status == 200 && content_type.starts_with("text/event-stream") {
            return self;
        }
        panic!("a stream was expected: {:?}", self.into_reply().await);
    }

    /// The next item; `Ok(None)` at the proper end, `Err` when the connection broke.
    pub async fn next(&mut self) -> Result<Option<Item>, reqwest::Error> {
        loop {
            while let Some(line) = self.take_line() {
                if let Some(item) = self.accept_line(&line) {
                    return Ok(Some(item));
                }
            }
            let piece = tokio::time::timeout(ITEM_TIMEOUT, self.body.next())
                .await
                .unwrap_or_else(|_| panic!("the stream stood still for {ITEM_TIMEOUT:?}"));
            match piece {
                Some(piece) => self.pending.extend_from_slice(&piece?),
                None => return Ok(None),
            }
        }
    }

    /// The next bytes as they came, for who does not read what is in them; `None` at the end, orderly or not.
    pub async fn next_bytes(&mut self) -> Option<Bytes> {
        let piece = tokio::time::timeout(ITEM_TIMEOUT, self.body.next()).await;
        piece.unwrap_or_else(|_| panic!("the stream stood still for {ITEM_TIMEOUT:?}"))?.ok()
    }

    /// The data of the next unnamed event; comments in between are passed over.
    pub async fn next_text(&mut self) -> Option<String> {
        while let Ok(Some(item)) = self.next().await {
            if let Item::Event { name, data } = item
                && name.is_empty()
            {
                return Some(data);
            }
        }
        None
    }

    /// Reads to the end.
    pub async fn drain(mut self) -> Transcript {
        let mut items = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Transcript { items, broken: false },
                Err(_) => return Transcript { items, broken: true },
            }
        }
    }

    /// The reply as a whole, for refusals that are no stream.
    pub async fn into_reply(mut self) -> Reply {
        let mut body = self.pending.split();
        while let Some(Ok(piece)) = self.body.next().await {
            body.extend_from_slice(&piece);
        }
        let reply = Reply { status: self.status, headers: self.headers, body: body.freeze() };
        house_rules::no_secret("a stream's refusal", &reply.text(), &self.target);
        reply
    }

    fn take_line(&mut self) -> Option<String> {
        // CR LF is one end of a line, also when a piece of the body ended between the two.
        if self.after_cr && self.pending.first() == Some(&b'\n') {
            self.pending.advance(1);
            self.after_cr = false;
        }
        let end = self.pending.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
        let line = self.pending.split_to(end);
        self.after_cr = self.pending.get_u8() == b'\r';
        let line = String::from_utf8_lossy(&line).into_owned();
        house_rules::no_secret("a stream", &line, &self.target);
        Some(line)
    }

    fn accept_line(&mut self, line: &str) -> Option<Item> {
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => return Some(Item::Comment(value)),
            "event" => self.name = value,
            "data" => self.data.push(value),
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Item> {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        // An event without data is none by the standard; the error mark of the default mode has an empty line.
        (!data.is_empty()).then(|| Item::Event { name, data: data.join("\n") })
    }
}

impl Transcript {
    /// What a client shows that reads by the standard: the data of unnamed events.
    pub fn text(&self) -> String {
        let unnamed = self.items.iter().filter_map(|item| match item {
            Item::Event { name, data } if name.is_empty() => Some(data.as_str()),
            _ => None,
        });
        unnamed.collect()
    }

    /// What the existing client shows: every data line, whatever its event's name.
    pub fn text_of_every_data_line(&self) -> String {
        let data = self.items.iter().filter_map(|item| match item {
            Item::Event { data, .. } => Some(data.as_str()),
            Item::Comment(_) => None,
        });
        data.collect()
    }

    /// The JSON of the comment `: <word> {…}`; `null` for a comment without JSON.
    pub fn comment(&self, word: &str) -> Option<Value> {
        self.items.iter().find_map(|item| match item {
            Item::Comment(text) => {
                let rest = text.strip_prefix(word)?;
                (rest.is_empty() || rest.starts_with(' '))
                    .then(|| serde_json::from_str(rest.trim()).unwrap_or(Value::Null))
            }
            Item::Event { .. } => None,
        })
    }

    /// The data of the named event.
    pub fn event(&self, wanted: &str) -> Option<String> {
        self.items.iter().find_map(|item| match item {
            Item::Event { name, data } if name == wanted => Some(data.clone()),
            _ => None,
        })
    }

    pub fn event_json(&self, wanted: &str) -> Value {
        let data = self.event(wanted).unwrap_or_else(|| panic!("no event {wanted} in {self:?}"));
        serde_json::from_str(&data).unwrap_or_else(|_| panic!("event {wanted} is not JSON: {data}"))
    }
}
