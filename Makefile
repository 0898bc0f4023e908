# Every target sets up what it needs. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Set by the runtime's own cargo in some editors; a build must not depend on it.
export CARGO_TERM_COLOR ?= auto
NODE := node_modules/.bin/node
RUST_SOURCES := $(shell find src actors -name "*.rs" -o -name "*.sql" -o -name "*.js" -o -name "*.json") ops/errors.md Cargo.toml actors/Cargo.toml Cargo.lock rust-toolchain.toml
BENCH_SOURCES := $(shell find ops/bench/load/src -name '*.rs') ops/bench/load/Cargo.toml Cargo.lock
PROBE_SOURCES := $(shell find tests/transaction/src -name '*.rs') tests/transaction/Cargo.toml src/platform/sql.rs

.PHONY: help setup setup-rust setup-node setup-llm dev build test test-native test-shell test-fuzz test-sim test-voice test-voice-client voice-client voice-drops test-http test-openapi test-sdk test-browser fuzz-openapi test-crash abuse-table provider-faults fuzz keys sim crash crash-jobs mutants check bench bench-peers stream-memory drain-memory fmt deploy deploy-dry-run clean clean-tools

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

dev: build ## build, then serve on http://127.0.0.1:8787 with a real local model; Ctrl-C ends it
	@exec $(NODE) ops/dev/dev.mjs

test: test-native test-shell test-fuzz test-sim test-voice test-voice-client test-http test-openapi test-sdk test-browser test-crash ## every test: the rules on SQLite and simulated, then the release bundle on workerd

test-native: setup-rust ## the rules and the pure parts of the Worker
	cargo test --locked -p actors -p cognomega --lib

test-shell: build ## the few lines of JavaScript between the runtime and Rust
	$(NODE) --test --test-reporter=spec "tests/shell/*.test.mjs"

test-fuzz: setup-rust ## the kept inputs of every fuzz target, then 30 s of new ones on two cores
	cargo test --locked -p fuzz-tests
	@ops/setup/fuzz.sh smoke

fuzz: setup-rust ## fuzz as long as you like: make fuzz TARGET=jwt MINUTES=10; ops/setup/fuzz.sh list names the targets
	@ops/setup/fuzz.sh one "$(TARGET)" "$(or $(MINUTES),10)"

mutants: setup-rust ## mutation tests of the rules, some hours; FOLDERS="rate credits" for some, SINCE=<commit> for lines changed since
	@ops/setup/cargo-tools.sh cargo-mutants
	@SINCE="$(SINCE)" ops/setup/mutants.sh $(FOLDERS)

test-sim: setup-rust ## ten thousand simulated schedules, every fault of every statement, and planted mistakes
	cargo test --locked --profile sim -p sim -- --nocapture
	cargo test --locked --profile sim -p sim --features planted --test planted -- --nocapture

sim: setup-rust ## simulate more: SEEDS=1000000, STEPS=200, FROM=0, THREADS=1; SEED=7 replays one with a trace
	@cargo run --quiet --locked --profile sim -p sim

test-voice: setup-rust ## voice sessions without a Worker: a client that is cut off at every point, on the rules in process
	cargo test --locked -p voice-tests

test-voice-client: setup-rust setup-node ## the client library for browsers: on sockets of a test, against the rules in process, in a real Chromium
	cargo build --locked -p voice-tests --target-dir target
	COGNOMEGA_CHROMIUM="$$(ops/setup/browser.sh)" VOICE_SERVER="$(CURDIR)/target/debug/voice-tests" $(NODE) --test --test-timeout=120000 --test-reporter=spec "frontend/voice/test/*.test.mjs"

voice-client: setup-node ## the client library for browsers as JavaScript, in frontend/voice/dist
	node_modules/.bin/tsc -p frontend/voice

voice-drops: build ## all 384 drops of a voice session and 200 runs of random ones, on workerd; writes ops/proofs/voice-drops.md
	VOICE_DROPS=all VOICE_DROPS_REPORT="$(CURDIR)/ops/proofs/voice-drops.md" cargo test --locked -p http-tests --test voice_drops -- --nocapture

test-http: build target/transaction-probe/index.js setup-llm ## the release bundle on workerd, over HTTP
	cargo test --locked -p http-tests

abuse-table: build ## every case of the abuse table, in both modes and on all aliases; writes ops/proofs/abuse.md
	ABUSE_REPORT="$(CURDIR)/ops/proofs/abuse.md" cargo test --locked -p http-tests --test abuse

provider-faults: build ## everything a provider may do wrong, and what becomes of it; writes ops/proofs/provider-faults.md
	PROVIDER_FAULTS_REPORT="$(CURDIR)/ops/proofs/provider-faults.md" cargo test --locked -p http-tests --test gateway faults

test-openapi: build setup-node ## the API against its own document: schemathesis as a user, with an API key and as the operator
	OPENAPI_TOOLS="$$(ops/setup/python-tools.sh openapi)" EXAMPLES="$(EXAMPLES)" SEED="$(SEED)" \
	  cargo test --locked -p http-tests --test openapi -- --ignored --nocapture

fuzz-openapi: EXAMPLES ?= 200
fuzz-openapi: test-openapi ## the same for longer: EXAMPLES=500 for each operation, SEED=7

test-sdk: build setup-node ## official clients, for Node and for Python: OpenAI's against the release bundle, Cartesia's against its stand-in
	SDK_TOOLS="$$(ops/setup/python-tools.sh sdk)" SDK_REPORT="$(SDK_REPORT)" \
	  cargo test --locked -p http-tests --test sdk -- --ignored --nocapture

test-browser: build ## cookies and cross-origin rules in a real Chromium, headless
	@COGNOMEGA_CHROMIUM="$$(ops/setup/browser.sh)" $(NODE) --test --test-timeout=120000 --test-reporter=spec "tests/browser/*.test.mjs"

test-crash: build ## 20 times kill -9 of workerd under load, on the same storage, and 5 times among jobs
	cargo test --locked -p crash-tests

crash: build ## the same as long as you like: make crash KILLS=200 OPERATIONS=5000 SEED=7 REPORT=report.md
	CRASH_KILLS="$(KILLS)" CRASH_OPERATIONS="$(OPERATIONS)" CRASH_SEED="$(SEED)" CRASH_REPORT="$(abspath $(REPORT))" \
	  cargo test --locked -p crash-tests --test kills -- --nocapture

crash-jobs: build ## jobs under kills, as many as you like: make crash-jobs KILLS=50 JOBS=500 SEED=7 REPORT=report.md
	CRASH_KILLS="$(KILLS)" CRASH_JOBS="$(JOBS)" CRASH_SEED="$(SEED)" CRASH_REPORT="$(abspath $(REPORT))" \
	  cargo test --locked -p crash-tests --test jobs -- --nocapture

keys: setup-node ## a signing key for a deployment: make keys OUT=folder (FIRST=1, or JWKS=https://<your API>/.well-known/jwks.json)
	@$(NODE) ops/keys/keys.mjs new --out "$(OUT)" $(if $(KID),--kid "$(KID)") $(if $(JWKS),--jwks "$(JWKS)") $(if $(FIRST),--first)

check: setup-rust setup-node deploy-dry-run ## formatting, lints, direction of dependencies, licences, deployability
	@ops/setup/cargo-tools.sh cargo-deny
	@ops/setup/check.sh

build: build/index.js ## the release bundle in build/

build/index.js: $(RUST_SOURCES) ops/setup/build.sh ops/setup/bundle.sh ops/setup/strip-names.mjs ops/setup/versions.env package-lock.json | setup-rust setup-node
	@ops/setup/build.sh

target/transaction-probe/index.js: $(PROBE_SOURCES) build/index.js
	@ops/setup/build.sh tests/transaction target/transaction-probe

bench: build target/release/bench-load ## the money path against its baselines; ROUNDS, SECONDS_EACH, ONLY=<scenario>
	@exec $(NODE) ops/bench/bench.mjs

bench-peers: build target/release/bench-load ## the gateway beside Portkey, LiteLLM and bare workerd, which it installs; ROUNDS, SECONDS_EACH, ONLY
	@exec $(NODE) ops/bench/bench.mjs peers

stream-memory: build ## workerd's memory while an answer of MB=100 megabytes passes, to a fast client and to a slow one
	STREAM_MEMORY_MB="$(MB)" cargo test --locked -p http-tests --test chat -- long_streams --nocapture

drain-memory: build ## workerd's memory while DRAINS=3 times JOBS=1000 jobs are made and done
	DRAIN_MEMORY_JOBS="$(JOBS)" DRAIN_MEMORY_DRAINS="$(DRAINS)" cargo test --locked -p http-tests --test drains -- memory --nocapture

target/release/bench-load: $(BENCH_SOURCES) | setup-rust
	cargo build --locked --release --package bench-load --target-dir target
	@touch $@

deploy-dry-run: build ## what `wrangler deploy` would upload, without uploading
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" WRANGLER_SEND_METRICS=false wrangler deploy --dry-run --env="" --outdir .cognomega/dry-run

deploy: build ## upload to production; the workflow runs this, people rarely do
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" wrangler deploy --env=""

fmt: setup-rust ## format the Rust code
	cargo fmt --all

setup: setup-rust setup-node setup-llm ## everything that the other targets need

setup-rust:
	@ops/setup/wasm-target.sh
	@ops/setup/cargo-tools.sh wasm-bindgen-cli worker-build

setup-node:
	@ops/setup/node.sh

setup-llm: setup-node
	@ops/setup/llm.sh

clean: ## remove what was built here, and the development data
	rm -rf build target node_modules .cognomega .wrangler

clean-tools: ## remove the tools and models shared by all clones of this user
	rm -rf "$${COGNOMEGA_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/cognomega}"
