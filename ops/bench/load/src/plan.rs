//! What to send: read from stdin, turned into bytes before the clock starts.

use crate::Fallible;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;

/// Longer windows are a mistake in a unit.
const SECONDS_MAX: f64 = 3_600.0;

/// In which order requests are taken from the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// One after the other, again from the start after the last.
    Cycle,
    /// One after the other during the warm-up, any of them afterwards.
    Random,
    /// Each once; the run ends with the list.
    Once,
}

#[derive(Debug, Deserialize)]
struct WrittenPlan {
    address: SocketAddr,
    connections: usize,
    /// The window that is measured; it begins after the warm-up.
    seconds: f64,
    #[serde(default)]
    warmup_requests: u64,
    /// Requests begin at this rate whatever the answers do; without it each connection sends when it has its answer.
    rate_per_second: Option<f64>,
    order: Order,
    /// Good answers are streams, whose chunks are looked at as they come.
    #[serde(default)]
    streamed: bool,
    /// The process whose processor time is reported.
    watch_pid: Option<u32>,
    requests: Vec<WrittenRequest>,
}

#[derive(Debug, Deserialize)]
struct WrittenRequest {
    method: String,
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
}

pub struct Plan {
    pub address: SocketAddr,
    pub connections: usize,
    pub window: Duration,
    pub warmup_requests: u64,
    pub interval: Option<Duration>,
    pub order: Order,
    pub streamed: bool,
    pub watch_pid: Option<u32>,
    /// Each as the bytes that go over the socket. Never empty.
    pub requests: Vec<Vec<u8>>,
}

impl Plan {
    pub fn parse(json: &str) -> Fallible<Self> {
        let plan: WrittenPlan = serde_json::from_str(json)?;
        if plan.requests.is_empty() || plan.connections == 0 {
            return Err("a plan needs a request and a connection".into());
        }
        if !(plan.seconds > 0.0 && plan.seconds <= SECONDS_MAX) {
            return Err("`seconds` is out of bounds".into());
        }
        let interval = match plan.rate_per_second {
            None => None,
            Some(rate) if rate > 0.0 => Some(Duration::try_from_secs_f64(1.0 / rate)?),
            Some(_) => return Err("`rate_per_second` must be above zero".into()),
        };
        let host = plan.address.to_string();
        Ok(Self {
            address: plan.address,
            connections: plan.connections,
            window: Duration::try_from_secs_f64(plan.seconds)?,
            warmup_requests: plan.warmup_requests,
            interval,
            order: plan.order,
            streamed: plan.streamed,
            watch_pid: plan.watch_pid,
            requests: plan.requests.iter().map(|request| request.to_bytes(&host)).collect(),
        })
    }
}

impl WrittenRequest {
    fn to_bytes(&self, host: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Some(body) => {
                text.push_str(&format!(
                    "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                ));
            }
            None if self.method == "GET" => text.push_str("\r\n"),
            None => text.push_str("content-length: 0\r\n\r\n"),
        }
        text.into_bytes()
    }
}
