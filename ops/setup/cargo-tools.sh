#!/usr/bin/env bash
# Builds the pinned command-line tools named as arguments into the user's cache, once per version. Without arguments:
# those that a build and a check need.
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
need cargo "install Rust $RUST_VERSION with your package manager or rustup, then run the same command again"
need cc "install a C compiler: apt-get install build-essential"
[ "$#" -gt 0 ] || set -- wasm-bindgen-cli worker-build cargo-deny

missing=()
for tool in "$@"; do
  case "$tool" in
    wasm-bindgen-cli) version=$WASM_BINDGEN_VERSION ;;
    worker-build) version=$WORKER_BUILD_VERSION ;;
    cargo-deny) version=$CARGO_DENY_VERSION ;;
    cargo-mutants) version=$CARGO_MUTANTS_VERSION ;;
    *) fail "unknown tool '$tool'" "use one of wasm-bindgen-cli, worker-build, cargo-deny, cargo-mutants" ;;
  esac
  [ -e "$cache_dir/$tool-$version/.complete" ] || missing+=("$tool@$version")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

lock_cache cargo-tools
for spec in "${missing[@]}"; do
  tool="${spec%@*}"; version="${spec#*@}"; root="$cache_dir/$tool-$version"
  [ -e "$root/.complete" ] && continue
  printf '\033[1m==>\033[0m building %s %s, once for this user (a few minutes) ' "$tool" "$version"
  # Little optimisation: these run for seconds, and are waited for by somebody on a new machine.
  (cd / && CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_STRIP=true CARGO_TARGET_DIR="$cache_dir/tools-target" \
    quietly "$tool" cargo install --locked --root "$root" --version "$version" "$tool") \
    || fail "$tool $version did not build" "read $cache_dir/$tool.log; after mending the cause, run the same command again"
  touch "$root/.complete"
done
rm -rf "$cache_dir/tools-target"
