//! Where the things under test are. The suite never builds them: it tests what `make build` made.

use std::path::{Path, PathBuf};

/// The repository's root, absolute.
pub fn repository_root() -> PathBuf {
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_dir.ancestors().nth(2).expect("tests/http lies two folders below the root").to_path_buf()
}

/// Stops the test with the cure when a part of the stack is not there.
pub fn require_built() {
    let root = repository_root();
    for part in ["build/index.js", "node_modules/.bin/node", "ops/dev/serve.mjs"] {
        let path = root.join(part);
        assert!(path.exists(), "{} is missing: run make build first", path.display());
    }
}
