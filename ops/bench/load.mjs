// One run of the load generator.
import { settings } from './settings.mjs';
import { onServerCore, runToEnd } from './stage.mjs';

// Sends `plan` (ops/bench/load/src/plan.rs says what is in it) to a server, and gives its summary. Any status that is
// not `expected` ends the benchmark: a figure with errors in it says nothing.
export async function sendLoad(server, { expected = 200, seconds = settings.secondsEach, ...plan }) {
  const whole = { address: server.address, watch_pid: server.pid, seconds, ...plan };
  const summary = JSON.parse(await runToEnd(settings.load, ['http'], { input: JSON.stringify(whole) }));
  const others = Object.keys(summary.statuses).filter((status) => Number(status) !== expected);
  if (others.length > 0 || summary.unknown > 0) {
    throw new Error(`${server.name}: ${JSON.stringify(summary.statuses)}, ${summary.unknown} broken connections where `
      + `only ${expected} was expected; the first: ${summary.first_failure}`);
  }
  return { ...summary, acknowledged: summary.statuses[expected] ?? 0 };
}

// Debits on SQLite itself, in the load generator's process but where servers run.
export async function sqliteDebits(folder) {
  const [command, args] = onServerCore(settings.load, ['sqlite', folder, String(settings.secondsEach)]);
  return JSON.parse(await runToEnd(command, args));
}
