#!/usr/bin/env bash
# What worker-build calls to bundle the JavaScript, in the folder where the generated pieces lie. The shell it wrote
# there wraps every object and every call in a proxy; src/shell.js takes its place.
set -euo pipefail
repo_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cp "$repo_dir/src/shell.js" shim.js
exec "$repo_dir/node_modules/.bin/esbuild" "$@"
