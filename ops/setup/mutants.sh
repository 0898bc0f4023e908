#!/usr/bin/env bash
# Changes the rules in the folders of `actors` named as arguments (all by default) one small way at a time, and
# runs the rules' own tests against each change. Whatever no test noticed is listed in target/mutants.out.
# With SINCE, a commit, only lines that are other ones than there are changed.
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
cd "$repo_dir"
[ "$#" -gt 0 ] || set -- catalog credits experiment keys notices rate shared sql.rs tenant
only=()
for part in "$@"; do
  if [ -d "actors/$part" ]; then only+=(-f "actors/$part/**")
  elif [ -f "actors/$part" ]; then only+=(-f "actors/$part")
  else fail "there is no actors/$part" "name folders of actors, like: make mutants FOLDERS=\"rate credits\""; fi
done
mkdir -p target
if [ -n "${SINCE:-}" ]; then
  git diff "$SINCE" -- actors >target/mutants.diff \
    || fail "there is no commit $SINCE" "name one that is in the history, like: make mutants SINCE=HEAD~3"
  only+=(--in-diff target/mutants.diff)
fi
step "mutants of $*${SINCE:+, of what changed since $SINCE}"
# Property tests find a mutant in a few cases or not at all, and fresh seeds of a mutant are worth nothing.
export PROPTEST_CASES=8 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 PROPTEST_MAX_SHRINK_ITERS=0 RUST_BACKTRACE=0
# What a run before found must not be taken for what this one does.
rm -rf target/mutants.out
rc=0
"$cache_dir/cargo-mutants-$CARGO_MUTANTS_VERSION/bin/cargo-mutants" mutants -p actors -o target \
  -j "${MUTANTS_JOBS:-2}" "${only[@]}" || rc=$?
# 2 says that mutants were missed, 3 that some did not end: both are results, and the lists say which.
case "$rc" in
  0 | 2 | 3) ;;
  *) fail "the run stopped" "read what it said above" ;;
esac
list() { cat "target/mutants.out/$1.txt" 2>/dev/null || true; }
caught=$(($(list caught | wc -l) + $(list timeout | wc -l))); missed=$(list missed | wc -l)
[ "$((caught + missed))" -gt 0 ] || fail "there was nothing to mutate" "name folders that hold rules, or an earlier commit"
step "of each part: caught, without an end, not viable, missed"
for part in "$@"; do
  of() { list "$1" | grep -c "^actors/$part[/:]" || true; }
  printf '%-12s %5d %5d %5d %5d\n' "$part" "$(of caught)" "$(of timeout)" "$(of unviable)" "$(of missed)"
done
step "caught $caught of $((caught + missed)) viable mutants: $((caught * 1000 / (caught + missed)))/1000"
list missed
