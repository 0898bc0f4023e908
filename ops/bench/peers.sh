#!/usr/bin/env bash
# Installs a gateway of others to measure beside ours, once per user and version, and prints its folder:
#   peers.sh portkey    from npm, into node_modules/; it runs on the project's own Node
#   peers.sh litellm    from PyPI, a virtual environment with the proxy's packages
source "$(dirname "${BASH_SOURCE[0]}")/../setup/progress.sh"

portkey() {
  need npm "install Node.js with npm: apt-get install nodejs npm"
  quietly portkey-npm npm install --prefix "$1" --ignore-scripts --no-audit --no-fund --no-progress \
    "@portkey-ai/gateway@$PORTKEY_VERSION" \
    || fail "Portkey could not be installed" "check the network (log: $cache_dir/portkey-npm.log), or go without its rows"
}

litellm() {
  need python3 "apt-get install python3 python3-venv"
  quietly litellm-venv python3 -m venv "$1" \
    || fail "python3 makes no virtual environment" "apt-get install python3-venv, then run the same command again"
  quietly litellm-pip "$1/bin/python" -m pip install --disable-pip-version-check --only-binary :all: \
    "litellm[proxy]==$LITELLM_VERSION" \
    || fail "LiteLLM could not be installed" "check the network (log: $cache_dir/litellm-pip.log), or go without its rows"
}

name="${1:-}"
case "$name" in
  portkey) version="$PORTKEY_VERSION" ;;
  litellm) version="$LITELLM_VERSION" ;;
  *) fail "no gateway of others is called '$name'" "name portkey or litellm" ;;
esac
target="$cache_dir/$name-$version"
present() { [ -e "$target/.complete" ]; }
if ! present; then
  exec 3>&1 >&2
  lock_cache "$name"
  if ! present; then
    printf '\033[1m==>\033[0m installing %s %s, once for this user ' "$name" "$version"
    rm -rf "$target"
    mkdir -p "$target"
    "$name" "$target"
    touch "$target/.complete"
  fi
  exec >&3
fi
echo "$target"
