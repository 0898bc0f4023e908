//! One running stack: the release bundle on real workerd with its storage in a folder of its own.
//!
//! The stack's starter ends by itself when its stdin closes, so a test run that is killed leaves no process.

use crate::artifacts;
use crate::client::{Client, Target};
use crate::poll::eventually;
use crate::process_log::ProcessLog;
use crate::secrets::Canaries;
use crate::vars::Vars;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Two loaded cores take about 3 s; the rest is patience.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const LOG_TAIL_LINES: usize = 40;
/// How the starter says that it brought up another workerd after a crash.
const RESTARTED: &str = "restarted ";

pub struct Stack {
    process: Process,
    storage: TempDir,
    vars_file: PathBuf,
    engine_url: String,
    bundle: Option<PathBuf>,
    canaries: Canaries,
    log: ProcessLog,
    restarts_seen: usize,
}

/// The starter and the workerd it started.
struct Process {
    starter: Child,
    workerd: Pid,
    url: String,
}

impl Stack {
    /// Starts workerd with `vars`; `engine_url` answers for the Workers AI binding.
    pub fn start(vars: &Vars, engine_url: &str) -> Self {
        Self::start_bundle(vars, engine_url, None)
    }

    /// The same with another Worker than the product; `bundle` is its main module.
    pub fn start_bundle(vars: &Vars, engine_url: &str, bundle: Option<PathBuf>) -> Self {
        artifacts::require_built();
        let storage = storage_folder();
        let vars_file = storage.path().join("vars.json");
        std::fs::write(&vars_file, vars.to_json()).expect("the variables are written");
        let log = ProcessLog::default();
        let canaries = vars.canaries();
        let process = launch(storage.path(), &vars_file, engine_url, bundle.as_deref(), &log, &canaries);
        let engine_url = engine_url.to_owned();
        Self { process, storage, vars_file, engine_url, bundle, canaries, log, restarts_seen: 0 }
    }

    pub fn target(&self) -> Target {
        Target {
            url: self.process.url.clone(),
            canaries: self.canaries.clone(),
            log: self.log.clone(),
            documented: self.bundle.is_none(),
        }
    }

    /// A caller with an address of its own. Clients made before a restart talk to the old port.
    pub fn client(&self) -> Client {
        Client::new(self.target())
    }

    pub fn log(&self) -> &ProcessLog {
        &self.log
    }

    /// SIGKILL to workerd: no handler of the Worker gets to run. Returns once the process is gone.
    pub fn kill_workerd(&self) {
        self.crash_workerd();
        // The starter may bring up another one on the same port, so the process is watched, not the port.
        self.wait_until_workerd_is_gone();
    }

    /// SIGKILL to workerd and nothing more: by itself the starter then brings up another one on the same port
    /// and storage, which `restarted` waits for.
    pub fn crash_workerd(&self) {
        kill_process(self.process.workerd, Signal::KILL).expect("workerd was running");
    }

    /// Waits until the starter has announced the workerd that it brought up after a crash.
    pub async fn restarted(&mut self, bound: Duration) {
        let seen = self.restarts_seen;
        let announced = eventually(bound, "the starter announces another workerd", || async {
            let announced = self.log.after_prefix(RESTARTED);
            if announced.len() > seen { Ok(announced) } else { Err(self.log.tail(LOG_TAIL_LINES)) }
        })
        .await;
        let last: Value =
            announced.last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        self.process.workerd = workerd_pid(&last);
        self.restarts_seen = announced.len();
    }

    /// Ends the stack and waits until its workerd has ended too.
    pub fn stop(mut self) {
        self.process.stop();
        self.wait_until_workerd_is_gone();
    }

    fn wait_until_workerd_is_gone(&self) {
        let workerd = self.process.workerd;
        wait_until(STOP_TIMEOUT, "workerd is gone", || test_kill_process(workerd).is_err());
    }

    /// Ends what still runs and starts again on the same storage.
    pub fn restart(&mut self) {
        self.process.stop();
        self.process = launch(
            self.storage.path(),
            &self.vars_file,
            &self.engine_url,
            self.bundle.as_deref(),
            &self.log,
            &self.canaries,
        );
        self.restarts_seen = self.log.after_prefix(RESTARTED).len();
    }
}

impl Process {
    fn stop(&mut self) {
        drop(self.starter.stdin.take());
        let started = Instant::now();
        while matches!(self.starter.try_wait(), Ok(None)) {
            if started.elapsed() > STOP_TIMEOUT {
                // It did not keep its promise to end. The kernel ends workerd with it.
                let _ = self.starter.kill();
                let _ = self.starter.wait();
                return;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn launch(
    storage: &Path,
    vars_file: &Path,
    engine_url: &str,
    bundle: Option<&Path>,
    log: &ProcessLog,
    canaries: &Canaries,
) -> Process {
    let root = artifacts::repository_root();
    let mut starter = Command::new(root.join("node_modules/.bin/node"))
        .current_dir(&root)
        .arg("ops/dev/serve.mjs")
        .args(["--env", "development", "--port", "0"])
        .arg("--persist")
        .arg(storage.join("state"))
        .arg("--vars")
        .arg(vars_file)
        .args(["--engine-url", engine_url])
        .args(bundle.into_iter().flat_map(|main| [Path::new("--main"), main]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node starts");
    log.follow(starter.stderr.take().expect("stderr is piped"), canaries.clone());
    let ready = announced(starter.stdout.take().expect("stdout is piped"));
    let Ok(line) = ready.recv_timeout(READY_TIMEOUT) else {
        let _ = starter.kill();
        let _ = starter.wait();
        panic!("the stack did not become ready:\n{}", log.tail(LOG_TAIL_LINES));
    };
    Process {
        workerd: workerd_pid(&line),
        url: line
            .get("url")
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no url in {line}"))
            .trim_end_matches('/')
            .to_owned(),
        starter,
    }
}

fn workerd_pid(announcement: &Value) -> Pid {
    let pid = announcement.get("workerd_pid").and_then(Value::as_i64);
    pid.and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw)
        .unwrap_or_else(|| panic!("no workerd_pid in {announcement}"))
}

/// The line that says the stack is ready. The channel closes without one when the starter ends first.
fn announced(stdout: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
            if line.get("ready") == Some(&Value::Bool(true)) {
                // Nobody listens any more after the first one; the pipe must still be read to its end.
                let _ = sender.send(line);
            }
        }
    });
    receiver
}

fn wait_until(bound: Duration, what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < bound, "not within {bound:?}: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// A folder named after this process. Stacks shared by a whole test binary are never dropped, so each new
/// folder first removes those of test runs that have ended.
fn storage_folder() -> TempDir {
    let parent = std::env::temp_dir().join("cognomega-http-tests");
    std::fs::create_dir_all(&parent).expect("a folder for test storage");
    for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.split('-').next());
        let owner = owner.and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        if owner.is_some_and(|pid| test_kill_process(pid).is_err()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new()
        .prefix(&format!("{}-", std::process::id()))
        .tempdir_in(parent)
        .expect("a folder for this stack")
}
