// What a run can be told by variables of the environment, each with its default.
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

function number(name, standard, least, most) {
  const value = Number(process.env[name] || standard);
  if (!(value >= least && value <= most)) throw new Error(`${name} must be ${least} to ${most}`);
  return value;
}

export const settings = {
  rounds: number('ROUNDS', 5, 1, 100),
  secondsEach: number('SECONDS_EACH', 2, 0.5, 600),
  // How many jobs a drain has.
  jobs: number('JOBS', 300, 50, 10_000),
  only: (process.env.ONLY ?? '').split(',').map((name) => name.trim()).filter(Boolean),
  resultsDir: resolve(root, process.env.RESULTS_DIR || 'ops/bench/results'),
  // On a disk, or commits cost nothing.
  scratchParent: resolve(process.env.SCRATCH_DIR || tmpdir()),
  load: resolve(root, process.env.BENCH_LOAD || 'target/release/bench-load'),
  bundle: process.env.BUNDLE ? resolve(root, process.env.BUNDLE) : undefined,
  // Laid over the variables of every product server, as JSON.
  productVars: JSON.parse(process.env.PRODUCT_VARS || '{}'),
  cores: availableParallelism(),
};

// Sizes of the scenarios.
export const HOT_CONNECTIONS = 32;
export const FIRST_TOUCH_CONNECTIONS = 8;
export const TENANTS = 1000;
export const FLOOD_CONNECTIONS = 32;
export const NORMAL_ASKS_PER_SECOND = 50;
// Ten abusers' worth of a normal tenant, and far from all that the server can refuse: saturated, it measures queueing.
export const FLOOD_PER_SECOND = 500;
export const WARMUP_REQUESTS = 300;
// Gateways of others answer as few as sixty a second.
export const PEER_WARMUP_REQUESTS = 60;
// A rate that every gateway but LiteLLM is far from filled by, over a longer window: its p99 is of a few answers.
export const STEADY_PER_SECOND = 200;
export const STEADY_CONNECTIONS = 64;
export const STEADY_WINDOWS = 3;

// How long the queue is in which a job that goes before others is timed.
export const QUEUED_JOBS = 1000;
export const LISTENERS = 10;

export const scratchName = join(settings.scratchParent, 'cognomega-bench-');
