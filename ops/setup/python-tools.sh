#!/usr/bin/env bash
# Installs the Python packages of ops/setup/<name>-requirements.txt into a virtual environment, once per user and list
# of versions, and prints its folder: python-tools.sh openapi
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
name="${1:-}"
list="$repo_dir/ops/setup/$name-requirements.txt"
[ -f "$list" ] || fail "there is no list of packages called '$name'" "name one of ops/setup/*-requirements.txt"
target="$cache_dir/$name-$(sha256sum "$list" | cut -c1-16)"
present() { [ -e "$target/.complete" ]; }
if ! present; then
  exec 3>&1 >&2
  lock_cache "$name"
  if ! present; then
    need python3 "apt-get install python3 python3-venv"
    printf '\033[1m==>\033[0m installing Python packages for %s, once for this user ' "$name"
    rm -rf "$target"
    quietly "$name-venv" python3 -m venv "$target" \
      || fail "python3 makes no virtual environment" "apt-get install python3-venv, then run the same command again"
    quietly "$name-pip" "$target/bin/python" -m pip install --disable-pip-version-check --no-deps --only-binary :all: \
      --requirement "$list" \
      || fail "the packages could not be installed" "check the network (log: $cache_dir/$name-pip.log)"
    touch "$target/.complete"
  fi
  exec >&3
fi
echo "$target"
