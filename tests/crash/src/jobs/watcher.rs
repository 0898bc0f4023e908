//! Somebody who watches a tenant live, as a stream, and comes again after each kill with the last id it has.

use super::shown::is_over;
use crate::violation::{Fault, Violation};
use http_tests::event_stream::{EventStream, Item};
use http_tests::world::Tenant;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Between two tries to come again.
const PAUSE: Duration = Duration::from_millis(25);

/// One event that was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub place: Place,
    /// `balance`, `usage` or `job`.
    pub kind: String,
    pub data: Value,
}

/// How far three sequences have come: of the ledger and usage, of notices, of jobs. Each event moves one of them by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub [i64; 3]);

/// What was seen so far, in its order.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub start: Option<Place>,
    pub events: Vec<Seen>,
    /// Streams that were opened, the first one included.
    pub opened: usize,
    pub violations: Vec<Violation>,
    /// The id of the last event.
    pub last: Option<String>,
}

pub type Shared = Arc<Mutex<Record>>;

impl Place {
    /// An id is opaque to clients; this one looks into it because it is there to find gaps.
    /// `<at>-<ledger>-<notices>[-<jobs>]-<check>`
    pub fn parse(id: &str) -> Option<Self> {
        let (numbers, _check) = id.rsplit_once('-')?;
        let numbers: Vec<i64> = numbers.split('-').map(str::parse).collect::<Result<_, _>>().ok()?;
        match numbers[..] {
            [_, ledger, notices] => Some(Self([ledger, notices, 0])),
            [_, ledger, notices, jobs] => Some(Self([ledger, notices, jobs])),
            _ => None,
        }
    }
}

impl Record {
    /// Jobs that were last seen to run.
    pub fn running(&self) -> usize {
        let mut statuses: HashMap<&str, &str> = HashMap::new();
        for seen in self.events.iter().filter(|seen| seen.kind == "job") {
            if let (Some(job), Some(status)) = (seen.job(), seen.status()) {
                statuses.insert(job, status);
            }
        }
        statuses.values().filter(|status| **status == "running").count()
    }

    /// How often each job was seen to be over.
    pub fn ends(&self) -> HashMap<&str, Vec<&str>> {
        let mut ends: HashMap<&str, Vec<&str>> = HashMap::new();
        for seen in self.events.iter().filter(|seen| seen.kind == "job") {
            if let (Some(job), Some(status)) = (seen.job(), seen.status())
                && is_over(status)
            {
                ends.entry(job).or_default().push(status);
            }
        }
        ends
    }

    fn accuse(&mut self, detail: String) {
        self.violations.push(Violation::new(Fault::Feed, detail));
    }
}

impl Seen {
    pub fn job(&self) -> Option<&str> {
        self.data.get("job").and_then(Value::as_str)
    }

    pub fn status(&self) -> Option<&str> {
        self.data.get("status").and_then(Value::as_str)
    }
}

/// Watches for ever.
pub async fn watch(tenant: Tenant, record: Shared) {
    loop {
        let last = noted(&record, |record| record.last.clone());
        let call = tenant.get("/api/events");
        let call = match &last {
            Some(last) => call.header("last-event-id", last),
            None => call,
        };
        match call.try_open().await {
            Ok(stream) if stream.status == 200 => {
                noted(&record, |record| record.opened += 1);
                follow(stream, &record).await;
            }
            // The runtime is coming back.
            Ok(stream) if stream.status == 503 => {}
            Ok(stream) => {
                let reply = stream.into_reply().await;
                noted(&record, |record| record.accuse(format!("not let in again: {reply:?}")));
                return;
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Writes down what comes until the connection breaks or ends.
async fn follow(mut stream: EventStream, record: &Shared) {
    while let Ok(Some(item)) = stream.next().await {
        let Item::Event { name, data } = item else {
            continue;
        };
        if name == "end" {
            return;
        }
        let frame: Value = serde_json::from_str(&data).unwrap_or_default();
        noted(record, |record| record.take(&name, &frame));
    }
}

fn noted<T>(record: &Shared, note: impl FnOnce(&mut Record) -> T) -> T {
    note(&mut record.lock().expect("nobody panics while writing"))
}

impl Record {
    fn take(&mut self, name: &str, frame: &Value) {
        let id = frame.get("id").and_then(Value::as_str).unwrap_or_default();
        let Some(place) = Place::parse(id) else {
            return self.accuse(format!("an event without a place: {frame}"));
        };
        match name {
            "hello" if self.start.is_none() => self.start = Some(place),
            "hello" => {
                let begins = frame.pointer("/data/begins").and_then(Value::as_str);
                if begins != Some("resumed") {
                    self.accuse(format!("not resumed: {frame}"));
                }
                return;
            }
            "window_passed" => self.accuse(format!("the window has passed: {frame}")),
            _ => {
                let data = frame.get("data").cloned().unwrap_or_default();
                self.events.push(Seen { place, kind: name.to_owned(), data });
            }
        }
        self.last = Some(id.to_owned());
    }
}
