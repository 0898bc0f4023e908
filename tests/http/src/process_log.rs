//! What the stack writes to stderr: the Worker's log lines. Kept for tests to read, and searched for secrets.

use crate::secrets::Canaries;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Lines {
    text: Vec<String>,
    leak: Option<String>,
}

/// A growing log, shared between the thread that reads the pipe and the tests.
#[derive(Clone, Default)]
pub struct ProcessLog {
    lines: Arc<Mutex<Lines>>,
}

impl ProcessLog {
    /// Reads `pipe` to its end on a thread of its own.
    pub fn follow<R: Read + Send + 'static>(&self, pipe: R, canaries: Canaries) {
        let lines = self.lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let mut lines = lines.lock().expect("the log lock");
                if let Some(name) = canaries.found_in(&line) {
                    lines.leak = Some(format!("{name} in the log line: {line}"));
                }
                lines.text.push(line);
            }
        });
    }

    pub fn text(&self) -> String {
        self.lines.lock().expect("the log lock").text.join("\n")
    }

    /// The last `count` lines, for failure messages.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines.lock().expect("the log lock");
        let from = lines.text.len().saturating_sub(count);
        lines.text.get(from..).unwrap_or_default().join("\n")
    }

    /// What follows `prefix` in each line that begins with it, in order.
    pub fn after_prefix(&self, prefix: &str) -> Vec<String> {
        let lines = self.lines.lock().expect("the log lock");
        lines.text.iter().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    /// Panics when any line so far held a secret.
    pub fn assert_no_secret(&self) {
        let leak = self.lines.lock().expect("the log lock").leak.clone();
        assert!(leak.is_none(), "a secret was logged: {}", leak.unwrap_or_default());
    }
}
