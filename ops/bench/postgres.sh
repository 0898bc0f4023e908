#!/usr/bin/env bash
# Fetches a real PostgreSQL, once per user: the wheel of PyPI's `pgserver` holds its programs. Prints their folder.
# Unpacked, not installed: nothing of Python is needed afterwards.
source "$(dirname "${BASH_SOURCE[0]}")/../setup/progress.sh"
target="$cache_dir/pgserver-$PGSERVER_VERSION"
if [ ! -e "$target/.complete" ]; then
  exec 3>&1 >&2
  lock_cache pgserver
  need python3 "apt-get install python3 python3-pip"
  work="$(mktemp -d "$cache_dir/pgserver.XXXXXX")"; trap 'rm -rf "$work"' EXIT
  printf '\033[1m==>\033[0m downloading PostgreSQL (11 MB), once for this user '
  # The programs are the same in the wheel of every Python; this is the newest one that has a wheel.
  quietly pgserver python3 -m pip download --no-deps --only-binary :all: --python-version 3.12 --implementation cp \
    --disable-pip-version-check --dest "$work" "pgserver==$PGSERVER_VERSION" \
    || fail "PostgreSQL could not be downloaded" "check the network, or go without that row"
  python3 - "$work" "$target" <<'PY'
import glob, os, sys, zipfile
(wheel,) = glob.glob(sys.argv[1] + "/*.whl")
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(sys.argv[2])
programs = os.path.join(sys.argv[2], "pgserver/pginstall/bin")
for name in os.listdir(programs):
    os.chmod(os.path.join(programs, name), 0o755)
PY
  touch "$target/.complete"
  exec >&3
fi
echo "$target"
