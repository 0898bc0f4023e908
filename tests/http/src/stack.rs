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
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Two loaded cores take about 3 s; the rest is patience.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
const OBEYED_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const LOG_TAIL_LINES: usize = 40;
/// The bucket of uploads, by its binding.
const UPLOADS: &str = "R2_UPLOADS";
/// How the starter says that it brought up another workerd after a crash.
const RESTARTED: &str = "restarted ";

pub struct Stack {
    process: Process,
    storage: TempDir,
    vars_file: PathBuf,
    beside_file: Option<PathBuf>,
    engine_url: String,
    bundle: Option<PathBuf>,
    canaries: Canaries,
    log: ProcessLog,
    restarts_seen: usize,
}

/// The starter and the workerd it started.
struct Process {
    starter: Child,
    /// What it is told to do; closed, it ends.
    orders: Mutex<Option<ChildStdin>>,
    workerd: Pid,
    url: String,
    /// The second Worker's, when there is one.
    beside_url: Option<String>,
    /// Runs the cron trigger.
    cron_url: String,
    /// What the starter says after it is ready.
    said: Mutex<Receiver<Value>>,
}

impl Stack {
    /// Starts workerd with `vars`; `engine_url` answers for the Workers AI binding.
    pub fn start(vars: &Vars, engine_url: &str) -> Self {
        Self::start_bundle(vars, engine_url, None)
    }

    /// The same with another Worker than the product; `bundle` is its main module.
    pub fn start_bundle(vars: &Vars, engine_url: &str, bundle: Option<PathBuf>) -> Self {
        Self::start_all(vars, None, engine_url, bundle)
    }

    /// A rolling deployment: a second Worker, with the variables `beside`, on the same actors and storage.
    pub fn start_pair(vars: &Vars, beside: &Vars, engine_url: &str) -> Self {
        Self::start_all(vars, Some(beside), engine_url, None)
    }

    fn start_all(vars: &Vars, beside: Option<&Vars>, engine_url: &str, bundle: Option<PathBuf>) -> Self {
        artifacts::require_built();
        let storage = storage_folder();
        let vars_file = storage.path().join("vars.json");
        std::fs::write(&vars_file, vars.to_json()).expect("the variables are written");
        let log = ProcessLog::default();
        let mut canaries = vars.canaries();
        let beside_file = beside.map(|vars| {
            canaries.extend(vars.canaries());
            let file = storage.path().join("beside.json");
            std::fs::write(&file, vars.to_json()).expect("the variables are written");
            file
        });
        let engine_url = engine_url.to_owned();
        let launch = Launch {
            storage: storage.path(),
            vars_file: &vars_file,
            beside_file: beside_file.as_deref(),
            engine_url: &engine_url,
            bundle: bundle.as_deref(),
        };
        let process = launch.start(&log, &canaries);
        Self { process, storage, vars_file, beside_file, engine_url, bundle, canaries, log, restarts_seen: 0 }
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

    /// A caller of the second Worker.
    pub fn beside_client(&self) -> Client {
        let url = self.process.beside_url.clone().expect("the stack has a second Worker");
        Client::new(Target { url, ..self.target() })
    }

    /// Writes a KV entry as an operator does; `None` deletes it.
    pub fn put_kv(&mut self, namespace: &str, key: &str, value: Option<&str>) {
        self.obeyed(&json!({"kv": namespace, "key": key, "value": value}), &json!({"kv_written": key}));
    }

    /// Runs the cron trigger as if it were this time.
    pub async fn run_cron(&self, at_ms: i64) {
        let url = format!("{}?cron=*/5+*+*+*+*&time={at_ms}", self.process.cron_url);
        let run = reqwest::get(url).await.expect("the starter answers");
        assert!(run.status().is_success(), "{run:?}");
    }

    /// Sends a message to a queue, by the name of its binding.
    pub fn send_to_queue(&mut self, queue: &str, message: &str) {
        self.obeyed(&json!({"queue": queue, "message": message}), &json!({"queued": queue}));
    }

    /// Looks into the bucket of uploads, or changes it, as an operator does; the objects it is about. `asked` is
    /// `{"list": prefix}`, `{"read": key}`, `{"delete": key}` or `{"put": key, "base64", "content_type", "metadata"}`.
    pub fn in_bucket(&self, mut asked: Value) -> Vec<Value> {
        asked["bucket"] = json!(UPLOADS);
        let mut answer = self.told(&asked);
        assert_eq!(answer["bucket"], UPLOADS, "{answer}");
        answer["objects"].as_array_mut().map(std::mem::take).expect("objects")
    }

    /// Tells the starter to do something, and waits until it says that it did.
    fn obeyed(&mut self, line: &Value, expected: &Value) {
        assert_eq!(&self.told(line), expected);
    }

    fn told(&self, line: &Value) -> Value {
        // Held until the answer is there: whoever else tells it something waits.
        let said = self.process.said.lock().expect("the starter's lines");
        let mut orders = self.process.orders.lock().expect("the starter's orders");
        writeln!(orders.as_mut().expect("the starter listens"), "{line}").expect("the starter listens");
        said.recv_timeout(OBEYED_TIMEOUT).expect("the starter does what it is told")
    }

    /// The process id of the workerd that serves now.
    pub const fn workerd(&self) -> Pid {
        self.process.workerd
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

    /// Deploys other variables: ends what runs, and starts one Worker with them on the same storage.
    pub fn redeploy(&mut self, vars: &Vars) {
        self.canaries.extend(vars.canaries());
        std::fs::write(&self.vars_file, vars.to_json()).expect("the variables are written");
        self.beside_file = None;
        self.restart();
    }

    /// Ends what still runs and starts again on the same storage.
    pub fn restart(&mut self) {
        self.restart_on(|_| {});
    }

    /// The same, with something done to the storage while nothing runs; its folder is given.
    pub fn restart_on(&mut self, change: impl FnOnce(&Path)) {
        self.process.stop();
        change(&self.storage.path().join("state"));
        let launch = Launch {
            storage: self.storage.path(),
            vars_file: &self.vars_file,
            beside_file: self.beside_file.as_deref(),
            engine_url: &self.engine_url,
            bundle: self.bundle.as_deref(),
        };
        self.process = launch.start(&self.log, &self.canaries);
        self.restarts_seen = self.log.after_prefix(RESTARTED).len();
    }
}

impl Process {
    fn stop(&mut self) {
        drop(self.orders.lock().map(|mut orders| orders.take()));
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

/// What a stack is started with.
struct Launch<'a> {
    storage: &'a Path,
    vars_file: &'a Path,
    beside_file: Option<&'a Path>,
    engine_url: &'a str,
    bundle: Option<&'a Path>,
}

impl Launch<'_> {
    fn start(&self, log: &ProcessLog, canaries: &Canaries) -> Process {
        let root = artifacts::repository_root();
        let mut starter = Command::new(root.join("node_modules/.bin/node"))
            .current_dir(&root)
            .arg("ops/dev/serve.mjs")
            .args(["--env", "development", "--port", "0"])
            .arg("--persist")
            .arg(self.storage.join("state"))
            .arg("--vars")
            .arg(self.vars_file)
            .args(["--engine-url", self.engine_url])
            .args(self.beside_file.into_iter().flat_map(|vars| [Path::new("--beside"), vars]))
            .args(self.bundle.into_iter().flat_map(|main| [Path::new("--main"), main]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node starts");
        log.follow(starter.stderr.take().expect("stderr is piped"), canaries.clone());
        let said = announced(starter.stdout.take().expect("stdout is piped"));
        let Ok(line) = said.recv_timeout(READY_TIMEOUT) else {
            let _ = starter.kill();
            let _ = starter.wait();
            panic!("the stack did not become ready:\n{}", log.tail(LOG_TAIL_LINES));
        };
        let url = |name: &str| {
            let url = line.get(name).and_then(Value::as_str);
            url.map(|url| url.trim_end_matches('/').to_owned())
        };
        Process {
            workerd: workerd_pid(&line),
            url: url("url").unwrap_or_else(|| panic!("no url in {line}")),
            beside_url: url("beside_url"),
            cron_url: url("cron_url").unwrap_or_else(|| panic!("no cron_url in {line}")),
            orders: Mutex::new(starter.stdin.take()),
            starter,
            said: Mutex::new(said),
        }
    }
}

fn workerd_pid(announcement: &Value) -> Pid {
    let pid = announcement.get("workerd_pid").and_then(Value::as_i64);
    pid.and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw)
        .unwrap_or_else(|| panic!("no workerd_pid in {announcement}"))
}

/// The lines that the starter says: first that the stack is ready. The channel closes when the starter ends.
fn announced(stdout: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The pipe must be read to its end, whether somebody listens or not.
            let _ = sender.send(serde_json::from_str(&line).unwrap_or(Value::Null));
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
