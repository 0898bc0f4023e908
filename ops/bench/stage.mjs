// The processes of a run: who runs where, and that none of them is left behind.
//
// Servers are on one processor core, everything else on another: the load must not take from what it measures. Every
// child holds the other end of a pipe of ours as its stdin, and so ends with us even when we are killed.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { root, scratchName, settings } from './settings.mjs';

const SERVER_CORE = 0;
const LOAD_CORE = 1;
const END_TIMEOUT_MS = 5000;
const TMPFS_MAGIC = 0x01021994;

const canPin = settings.cores >= 2 && spawnSync('taskset', ['--version']).status === 0;
const children = new Set();

export const scratch = mkdtempSync(scratchName);
export const pinned = canPin ? `servers on core ${SERVER_CORE}, load on core ${LOAD_CORE}` : 'not pinned to cores';
export const storageIsMemory = statfsSync(scratch).type === TMPFS_MAGIC;

// Ours included, and so of every process that is started later.
if (canPin) pin(process.pid, LOAD_CORE);

function pin(pid, core) {
  if (canPin) spawnSync('taskset', ['-a', '-p', '-c', String(core), String(pid)]);
}

// Puts a process with all its threads where servers run.
export const asServer = (pid) => pin(pid, SERVER_CORE);

// The command line that starts a program where servers run.
export const onServerCore = (command, args) =>
  (canPin ? ['taskset', ['-c', String(SERVER_CORE), command, ...args]] : [command, args]);

export function folder(name) {
  const path = join(scratch, name);
  mkdirSync(path, { recursive: true });
  return path;
}

// Starts a program. Its own process group keeps the terminal's Ctrl-C away from it: we end it.
export function start(command, args, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ['pipe', 'pipe', 'pipe'], detached: true, ...options });
  children.add(child);
  child.words = '';
  child.stderr?.on('data', (text) => { child.words = `${child.words}${text}`.slice(-4000); });
  child.stdin?.on('error', () => { /* it went before it was told */ });
  child.gone = new Promise((done) => {
    child.once('error', (error) => { children.delete(child); done(error.message); });
    child.once('close', (code, signal) => { children.delete(child); done(signal ?? code); });
  });
  return child;
}

// Starts a program that stays, and waits for its line of JSON.
export async function startService(name, command, args) {
  const child = start(command, args);
  const line = await Promise.race([
    new Promise((got) => { createInterface({ input: child.stdout }).once('line', got); }),
    child.gone.then(() => undefined),
  ]);
  if (line === undefined) throw new Error(`${name} did not start: ${child.words}`);
  return { ...JSON.parse(line), child };
}

// Runs a program to its end: what it printed. `input` goes to its stdin.
export async function runToEnd(command, args, { input, ...options } = {}) {
  const child = start(command, args, options);
  let output = '';
  child.stdout.on('data', (text) => { output += text; });
  child.stdin.end(input ?? '');
  const how = await child.gone;
  if (how !== 0) throw new Error(`${command} ${args[0] ?? ''} ended with ${how}: ${child.words}`);
  return output;
}

// Ends every process and removes what they kept.
export async function endAll() {
  const all = [...children];
  for (const child of all) child.stdin?.end();
  for (const child of all) child.kill('SIGTERM');
  const timer = setTimeout(() => { for (const child of children) child.kill('SIGKILL'); }, END_TIMEOUT_MS);
  await Promise.all(all.map((child) => child.gone));
  clearTimeout(timer);
  rmSync(scratch, { recursive: true, force: true });
}
