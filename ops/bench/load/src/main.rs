//! The load of the benchmarks: one process, one thread, so that it stays on its own processor core.
//!
//!   bench-load http                      sends the plan on stdin, prints what came of it as one line of JSON
//!   bench-load mock                      an OpenAI-compatible provider that answers at once, or in a stream; ends with its stdin
//!   bench-load sqlite DIR SECONDS        debits on SQLite, one synchronous commit each; one line of JSON

mod event_stream;
mod http;
mod latency;
mod mock;
mod mock_stream;
mod pace;
mod plan;
mod process_time;
mod response;
mod score;
mod sqlite;

use std::process::ExitCode;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["http"] => on_one_thread(http::run()),
        ["mock"] => on_one_thread(mock::serve()),
        ["sqlite", folder, seconds] => sqlite::run(folder, seconds),
        _ => Err("usage: bench-load http < plan.json | mock | sqlite DIR SECONDS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn on_one_thread(work: impl Future<Output = Fallible<()>>) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}
