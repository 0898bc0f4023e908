# Sourced by the set-up scripts: where tools are kept, and how a step tells what it does.
# Tools are shared by every clone of one user, keyed by version, so a fresh clone does not build them again.
set -euo pipefail
repo_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=versions.env
source "$repo_dir/ops/setup/versions.env"
cache_dir="${COGNOMEGA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cognomega}"
mkdir -p "$cache_dir"

step() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'set-up stopped: %s\n' "$1" >&2; printf '        cure: %s\n' "$2" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || fail "the command '$1' is missing" "$2"; }

# Runs a long command with its output in a log, a dot every ten seconds, and the log's end when it fails.
quietly() {
  local log="$cache_dir/$1.log"; shift
  local started=$SECONDS rc=0
  "$@" >"$log" 2>&1 </dev/null &
  local pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    if (( (SECONDS - started) % 10 == 9 )); then printf '.'; fi
  done
  wait "$pid" || rc=$?
  printf ' %ss\n' "$((SECONDS - started))"
  if [ "$rc" -ne 0 ]; then tail -n 30 "$log" >&2; return "$rc"; fi
}

# One step of a kind at a time per user: two clones must not build the same tool into the same folder.
lock_cache() { exec 9>"$cache_dir/$1.lock"; flock 9; }
