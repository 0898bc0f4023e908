#!/usr/bin/env bash
# Builds the fuzz targets with coverage counters, then looks for inputs that break a property.
#   fuzz.sh smoke                 every target, SECONDS_ALL seconds (30) in all, on two cores
#   fuzz.sh one <target> <minutes>  one target; what reaches new code is kept in its corpus, as few as do
#   fuzz.sh list
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
cd "$repo_dir"
need c++ "install a C++ compiler: apt-get install build-essential"

corpora=tests/fuzz/corpus
mapfile -t targets < <(ls "$corpora")
host="$(rustc -vV | sed -n 's/^host: //p')"
binary="target/fuzz/$host/fuzz/fuzz"
# Longest input, in bytes: a token, a query or a header is refused above 8 KB. Longest run of one input, in seconds.
limits=(-max_len=9000 -timeout=10 -rss_limit_mb=1024)
# What cargo-fuzz passes without a sanitizer: none of our code has `unsafe`. They are flags of the stable compiler.
counters="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"

build() {
  step "building the fuzz targets"
  # With a target named, build scripts and macros are left without counters.
  RUSTFLAGS="$counters" quietly fuzz cargo build --locked --profile fuzz -p fuzz-tests --features engine \
    --target "$host" --target-dir target/fuzz \
    || fail "the fuzz targets did not build" "read $cache_dir/fuzz.log"
}

# run <target> <seconds> <corpus to write to, then corpora to read>: libFuzzer's own report
run() {
  local target=$1 seconds=$2; shift 2
  mkdir -p "target/fuzz/findings/$target"
  FUZZ_TARGET="$target" "$binary" "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1 \
    -artifact_prefix="target/fuzz/findings/$target/" "$@"
}

# What a report says: executions, coverage (edges, features), inputs kept.
figures() {
  local target=$1 report=$2 last
  last="$(grep -E '#[0-9]+\s+DONE' "$report" | tail -1)"
  printf '%-10s %10s executions, %5s edges, %6s features, corpus %s\n' "$target" \
    "$(sed -n 's/^#\([0-9]*\).*DONE.*/\1/p' <<<"$last")" "$(grep -o 'cov: [0-9]*' <<<"$last" | cut -d' ' -f2)" \
    "$(grep -o 'ft: [0-9]*' <<<"$last" | cut -d' ' -f2)" "$(grep -o 'corp: [0-9]*' <<<"$last" | cut -d' ' -f2)"
}

found() {
  tail -40 "$2" >&2
  fail "target '$1' found an input that breaks it" \
    "copy it from target/fuzz/findings/$1/ to $corpora/$1/, mend the code, and run: cargo test -p fuzz-tests"
}

smoke() {
  build
  local lanes=2 seconds=$(( ${SECONDS_ALL:-30} * 2 / ${#targets[@]} )) lane
  [ "$seconds" -ge 1 ] || seconds=1
  step "${#targets[@]} fuzz targets, $seconds s each, $lanes at a time"
  lane() {
    local at
    for (( at = $1; at < ${#targets[@]}; at += lanes )); do
      local target="${targets[$at]}"
      mkdir "$scratch/$target"
      run "$target" "$seconds" "$scratch/$target" "$corpora/$target" >"$scratch/$target.log" 2>&1 \
        || { touch "$scratch/$target.found"; return 1; }
    done
  }
  local pids=()
  for (( lane = 0; lane < lanes; lane += 1 )); do lane "$lane" & pids+=($!); done
  local pid; for pid in "${pids[@]}"; do wait "$pid" || true; done
  local target
  for target in "${targets[@]}"; do
    [ ! -e "$scratch/$target.found" ] || found "$target" "$scratch/$target.log"
    figures "$target" "$scratch/$target.log"
  done
}

one() {
  local target=$1 minutes=$2 known
  for known in "${targets[@]}"; do [ "$known" = "$target" ] && break; done
  [ "${known:-}" = "$target" ] || fail "no fuzz target '$target'" "TARGET= one of ${targets[*]}"
  build
  mkdir "$scratch/new"
  step "fuzz target $target, $minutes min"
  run "$target" "$((minutes * 60))" "$scratch/new" "$corpora/$target" 2>&1 | tee "$scratch/log" | grep -E '#[0-9]+.*pulse|ERROR|panicked' || true
  grep -qE '#[0-9]+\s+DONE' "$scratch/log" || found "$target" "$scratch/log"
  figures "$target" "$scratch/log"
  # As few inputs as reach new places in the code; what is there already stays.
  FUZZ_TARGET="$target" "$binary" -set_cover_merge=1 -use_counters=0 -max_len=512 "$corpora/$target" "$scratch/new" >"$scratch/merge.log" 2>&1 || found "$target" "$scratch/merge.log"
}

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
case "${1:-}" in
  smoke) smoke ;;
  one) one "${2:-}" "${3:-10}" ;;
  list) printf '%s\n' "${targets[@]}" ;;
  *) fail "unknown command '${1:-}'" "use smoke, one or list" ;;
esac
