#!/usr/bin/env bash
# Installs schemathesis and a validator of OpenAPI documents into a virtual environment, once per user and list of
# versions, and prints its folder.
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
list="$repo_dir/ops/setup/openapi-requirements.txt"
target="$cache_dir/openapi-$(sha256sum "$list" | cut -c1-16)"
present() { [ -e "$target/.complete" ]; }
if ! present; then
  exec 3>&1 >&2
  lock_cache openapi
  if ! present; then
    need python3 "apt-get install python3 python3-venv"
    printf '\033[1m==>\033[0m installing schemathesis, once for this user '
    rm -rf "$target"
    quietly openapi-venv python3 -m venv "$target" \
      || fail "python3 makes no virtual environment" "apt-get install python3-venv, then run the same command again"
    quietly openapi-pip "$target/bin/python" -m pip install --disable-pip-version-check --no-deps --only-binary :all: \
      --requirement "$list" \
      || fail "schemathesis could not be installed" "check the network (log: $cache_dir/openapi-pip.log)"
    touch "$target/.complete"
  fi
  exec >&3
fi
echo "$target"
