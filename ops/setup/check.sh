#!/usr/bin/env bash
# Everything that can be known without running the product.
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
cd "$repo_dir"

step "formatting"
cargo fmt --all --check || fail "some files are not formatted" "make fmt"

step "lints: shipped code on its own target, everything else natively"
cargo clippy --locked -p actors -p cognomega --target wasm32-unknown-unknown -- -D warnings
cargo clippy --locked --workspace --all-targets --exclude transaction-probe -- -D warnings

step "types of the voice client"
node_modules/.bin/tsc -p frontend/voice --noEmit

step "direction of dependencies"
tree="$(cargo tree --locked -p actors --edges normal --prefix none)"
if grep -E '^(worker|js-sys|web-sys|wasm-bindgen|tokio|chrono|uuid|getrandom)\b' <<<"$tree"; then
  fail "the package 'actors' reaches the platform, a clock or randomness" "keep it behind actors::sql or an argument"
fi
if git grep -nE '^\s*(pub )?use (crate::)?(edge|durable)::' -- src/platform src/providers; then
  fail "platform or providers use what stands above them" "edge -> durable -> actors; both use platform"
fi
if git grep -nE 'use crate::edge' -- src/durable; then
  fail "durable uses edge" "edge -> durable -> actors"
fi

step "licences, bans and sources"
"$cache_dir/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny" --workspace --log-level error check licenses bans sources

step "pins agree"
locked="$(awk '/^name = "wasm-bindgen"$/ {getline; print $3}' Cargo.lock | tr -d '"')"
[ "$locked" = "$WASM_BINDGEN_VERSION" ] \
  || fail "Cargo.lock has wasm-bindgen $locked, the tools $WASM_BINDGEN_VERSION" "make both the same in ops/setup/versions.env"
grep -q "channel = \"$RUST_VERSION\"" rust-toolchain.toml \
  || fail "rust-toolchain.toml and ops/setup/versions.env name different compilers" "make both $RUST_VERSION"

step "text speaks of the project alone"
if git grep -nE '/work/|/root/' -- . ':!ops/setup/check.sh'; then
  fail "a file names a folder of one machine" "write it relative to the repository"
fi
