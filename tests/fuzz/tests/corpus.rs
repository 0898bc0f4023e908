//! Every kept input once more, without an engine: seeds, what reached new code, and what was once a finding.

use std::path::{Path, PathBuf};

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn everything_kept_holds() {
    for (name, target) in fuzz_tests::TARGETS {
        let inputs = corpus(name);
        assert!(inputs.len() >= 5, "{name}: {} inputs are kept", inputs.len());
        for input in inputs {
            let data = std::fs::read(&input).expect("an input");
            let held = std::panic::catch_unwind(|| target(&data));
            assert!(held.is_ok(), "{name} does not hold for {}", input.display());
        }
    }
}

#[test]
fn every_corpus_has_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(folder).expect("the corpora") {
        let name = entry.expect("a corpus").file_name().into_string().expect("a plain name");
        assert!(fuzz_tests::TARGETS.iter().any(|(target, _)| *target == name), "{name}");
    }
}
