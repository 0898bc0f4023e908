//! The operator's tool for keys, run as an operator runs it.

use crate::artifacts;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `ops/keys/keys.mjs` and gives its standard output.
///
/// # Panics
/// When it does not end well.
pub fn run(arguments: &[&str]) -> String {
    let output = try_run(arguments, &artifacts::repository_root());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The same from a folder of the caller's choice, with whatever comes of it.
pub fn try_run(arguments: &[&str], folder: &Path) -> Output {
    let root = artifacts::repository_root();
    Command::new(root.join("node_modules/.bin/node"))
        .arg(root.join("ops/keys/keys.mjs"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("node starts")
}
