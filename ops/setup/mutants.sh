#!/usr/bin/env bash
# Changes the rules in the folders of `actors` named as arguments (all by default) one small way at a time, and
# runs the rules' own tests against each change. Whatever no test noticed is listed in target/mutants.out.
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
cd "$repo_dir"
[ "$#" -gt 0 ] || set -- credits keys notices rate shared tenant
files=()
for folder in "$@"; do
  [ -d "actors/$folder" ] || fail "there is no actors/$folder" "name folders of actors, like: make mutants FOLDERS=\"rate credits\""
  files+=(-f "actors/$folder/**")
done
step "mutants of $*"
# Property tests find a mutant in a few cases or not at all, and fresh seeds of a mutant are worth nothing.
export PROPTEST_CASES=8 PROPTEST_FAILURE_PERSISTENCE=off RUST_BACKTRACE=0
mkdir -p target
rc=0
"$cache_dir/cargo-mutants-$CARGO_MUTANTS_VERSION/bin/cargo-mutants" mutants -p actors -o target \
  -j "${MUTANTS_JOBS:-2}" "${files[@]}" || rc=$?
# 2 says that mutants were missed, 3 that some did not end: both are results, and the lists say which.
case "$rc" in
  0 | 2 | 3) ;;
  *) fail "the run stopped" "read what it said above" ;;
esac
count() { wc -l <"target/mutants.out/$1.txt"; }
caught=$(($(count caught) + $(count timeout))); missed=$(count missed)
[ "$((caught + missed))" -gt 0 ] || fail "there was nothing to mutate" "name folders that hold rules"
step "caught $caught of $((caught + missed)) viable mutants: $((caught * 1000 / (caught + missed)))/1000"
cat target/mutants.out/missed.txt
