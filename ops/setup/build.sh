#!/usr/bin/env bash
# Builds a Worker crate (the product by default) into a release bundle: Rust to wasm, its JavaScript glue,
# wasm-opt, one bundled module. Every tool is the pinned one; nothing is downloaded by the build itself.
# Usage: build.sh [crate folder] [output folder]
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
cd "$repo_dir"
crate="${1:-.}"; out="${2:-build}"
export WASM_BINDGEN_BIN="$cache_dir/wasm-bindgen-cli-$WASM_BINDGEN_VERSION/bin/wasm-bindgen"
export WASM_OPT_BIN="$repo_dir/node_modules/.bin/wasm-opt"
export ESBUILD_BIN="$repo_dir/node_modules/.bin/esbuild"
if [ "$crate" = . ]; then ESBUILD_BIN="$repo_dir/ops/setup/bundle.sh"; fi
# wasm-opt is a Node script: it runs on the Node of the project, not of the machine.
export PATH="$repo_dir/node_modules/.bin:$PATH"
printf '\033[1m==>\033[0m building %s (about two minutes the first time) ' "$out"
(cd "$crate" && quietly "build-$(basename "$out")" "$cache_dir/worker-build-$WORKER_BUILD_VERSION/bin/worker-build" --release) \
  || fail "the bundle did not build" "read the compiler's words above"
if [ "$crate" != . ]; then
  rm -rf "$out"; mkdir -p "$(dirname "$out")"; cp -r "$crate/build" "$out"
fi
wasm="$(ls "$out"/*.wasm | head -n 1)"
node ops/setup/strip-names.mjs "$wasm" "target/named/$(basename "$out").wasm"
raw="$(wc -c <"$wasm")"; packed="$(gzip -9 -c "$wasm" | wc -c)"
step "$out: wasm $raw bytes, $packed gzipped"
# The platform takes 3 MB gzipped on its free plan; with voice sessions, two thirds of that leave room and keep cold starts
# short.
[ "$packed" -lt 2097152 ] || fail "the gzipped wasm is larger than 2 MiB" "see what grew with 'cargo tree --target wasm32-unknown-unknown'"
