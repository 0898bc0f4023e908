//! What a run has seen so far, and its sum at the end.

use crate::event_stream::Arrived;
use crate::latency::Latencies;
use crate::process_time;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Score {
    /// Every answer of the run, the warm-up's too: what a ledger is compared with.
    statuses: BTreeMap<u16, u64>,
    /// Requests whose outcome is not known: the connection broke.
    unknown: u64,
    first_failure: Option<String>,
    window: Option<Window>,
}

/// The part of the run that is measured.
struct Window {
    began: Instant,
    length: Duration,
    answers: u64,
    latencies: Latencies,
    streams: Streams,
    last_answer: Instant,
    server: Option<Duration>,
    load: Option<Duration>,
    closed: Option<(Option<Duration>, Option<Duration>)>,
}

/// Of answers that were streams.
#[derive(Default)]
struct Streams {
    answers: u64,
    first_bytes: Latencies,
    /// How long each chunk was on the way.
    chunks: Latencies,
}

/// The same, summed up.
#[derive(Default, Serialize)]
pub struct StreamSummary {
    /// From when a request's time counts to the first byte of its answer's body.
    pub first_byte_p50_ms: f64,
    pub first_byte_p99_ms: f64,
    /// From the provider to here.
    pub chunk_p50_ms: f64,
    pub chunk_p99_ms: f64,
    pub chunks_each: f64,
}

#[derive(Serialize)]
pub struct Summary {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub mean_ms: f64,
    pub window_answers: u64,
    pub window_seconds: f64,
    pub statuses: BTreeMap<u16, u64>,
    pub unknown: u64,
    pub first_failure: Option<String>,
    /// Processor time of the watched process for each answer, in microseconds.
    pub server_cpu_us: Option<f64>,
    /// The part of one processor core that this process used: near 1, it measures itself.
    pub load_core_share: Option<f64>,
    #[serde(flatten)]
    pub streams: Option<StreamSummary>,
}

impl Score {
    pub fn open_window(&mut self, length: Duration, watch_pid: Option<u32>) {
        let now = Instant::now();
        self.window = Some(Window {
            began: now,
            length,
            answers: 0,
            latencies: Latencies::default(),
            streams: Streams::default(),
            last_answer: now,
            server: watch_pid.and_then(|pid| process_time::of(&pid.to_string())),
            load: process_time::of("self"),
            closed: None,
        });
    }

    /// Whether the window has passed; the first time it has, processor times are taken.
    pub fn is_over(&mut self, watch_pid: Option<u32>) -> bool {
        let Some(window) = &mut self.window else { return false };
        if window.began.elapsed() < window.length {
            return false;
        }
        window.close(watch_pid);
        true
    }

    /// The run is at its end, whether or not the window has passed.
    pub fn end(&mut self, watch_pid: Option<u32>) {
        if let Some(window) = &mut self.window {
            window.close(watch_pid);
        }
    }

    pub fn answered(&mut self, status: u16, body: &[u8], began: Instant, arrived: Option<Arrived>) {
        let count = self.statuses.entry(status).or_default();
        *count = count.saturating_add(1);
        if !(200..300).contains(&status) && self.first_failure.is_none() {
            self.first_failure = Some(format!("{status} {}", String::from_utf8_lossy(body)));
        }
        let Some(window) = &mut self.window else { return };
        if window.closed.is_none() && window.began.elapsed() < window.length {
            window.answers = window.answers.saturating_add(1);
            window.last_answer = Instant::now();
            window.latencies.record(began.elapsed());
            if let Some(arrived) = arrived {
                window.streams.add(&arrived, began);
            }
        }
    }

    pub fn lost(&mut self, why: &str) {
        self.unknown = self.unknown.saturating_add(1);
        if self.first_failure.is_none() {
            self.first_failure = Some(why.to_owned());
        }
    }

    pub const fn losses(&self) -> u64 {
        self.unknown
    }

    pub fn summary(mut self) -> Summary {
        let statuses = std::mem::take(&mut self.statuses);
        let (unknown, first_failure) = (self.unknown, self.first_failure.take());
        let measured = self.window.map(Window::sum).unwrap_or_default();
        Summary {
            per_second: measured.per_second,
            p50_ms: measured.latencies.percentile_ms(50),
            p99_ms: measured.latencies.percentile_ms(99),
            mean_ms: measured.latencies.mean_ms(),
            window_answers: measured.answers,
            window_seconds: measured.seconds,
            statuses,
            unknown,
            first_failure,
            server_cpu_us: measured.server_cpu_us,
            load_core_share: measured.load_core_share,
            streams: measured.streams.sum(),
        }
    }
}

impl Streams {
    fn add(&mut self, arrived: &Arrived, began: Instant) {
        self.answers = self.answers.saturating_add(1);
        if let Some(at) = arrived.first_byte {
            self.first_bytes.record(at.saturating_duration_since(began));
        }
        for delay in &arrived.delays {
            self.chunks.record(*delay);
        }
    }

    fn sum(mut self) -> Option<StreamSummary> {
        if self.answers == 0 {
            return None;
        }
        self.first_bytes.sort();
        self.chunks.sort();
        #[allow(clippy::cast_precision_loss)]
        let chunks_each = self.chunks.count() as f64 / self.answers as f64;
        Some(StreamSummary {
            first_byte_p50_ms: self.first_bytes.percentile_ms(50),
            first_byte_p99_ms: self.first_bytes.percentile_ms(99),
            chunk_p50_ms: self.chunks.percentile_ms(50),
            chunk_p99_ms: self.chunks.percentile_ms(99),
            chunks_each,
        })
    }
}

#[derive(Default)]
struct Measured {
    per_second: f64,
    answers: u64,
    seconds: f64,
    latencies: Latencies,
    streams: Streams,
    server_cpu_us: Option<f64>,
    load_core_share: Option<f64>,
}

impl Window {
    fn close(&mut self, watch_pid: Option<u32>) {
        if self.closed.is_none() {
            let server = watch_pid.and_then(|pid| process_time::of(&pid.to_string()));
            self.closed = Some((server, process_time::of("self")));
        }
    }

    fn sum(mut self) -> Measured {
        self.latencies.sort();
        let (server_end, load_end) = self.closed.unwrap_or_default();
        // A list that ended before the window did was done when its last answer came.
        let span = self.last_answer.saturating_duration_since(self.began);
        let seconds = span.as_secs_f64().max(f64::EPSILON);
        #[allow(clippy::cast_precision_loss)]
        let answers = self.answers as f64;
        let spent =
            |from: Option<Duration>, to: Option<Duration>| Some(to?.saturating_sub(from?).as_secs_f64());
        Measured {
            per_second: answers / seconds,
            answers: self.answers,
            seconds,
            server_cpu_us: spent(self.server, server_end).map(|spent| spent * 1e6 / answers.max(1.0)),
            load_core_share: spent(self.load, load_end).map(|spent| spent / seconds),
            latencies: self.latencies,
            streams: self.streams,
        }
    }
}
