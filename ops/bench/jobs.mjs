// What the benchmarks of jobs do at the product: make jobs, wait until they are over, watch them live, read a process's
// time and memory.
import { readFileSync } from 'node:fs';
import { getJson } from './servers.mjs';

const PAGE_ROWS = 100;
const POLL_MS = 250;
// Between two looks at one job.
const LOOK_MS = 5;
const OVER_WAIT_MS = 900_000;
const SEEN_WAIT_MS = 10_000;
const END_WAIT_MS = 30_000;
const TICK_US = 10_000;
const USER_FIELD = 11;
const SYSTEM_FIELD = 12;
const OVER = new Set(['succeeded', 'failed', 'cancelled']);

export const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });
const shown = ({ token }) => ({ authorization: `Bearer ${token}` });

export const making = (who, more = {}) => ({
  method: 'POST',
  path: '/api/jobs',
  headers: Object.entries(shown(who)),
  body: JSON.stringify({ params: { input: 'Say something about the weather of today.' }, ...more }),
});

// Makes one job; its id.
export async function make(server, who, more) {
  const { path, body } = making(who, more);
  const headers = { ...shown(who), 'content-type': 'application/json' };
  const reply = await fetch(`${server.url}${path}`, { method: 'POST', headers, body });
  if (!reply.ok) throw new Error(`no job: ${reply.status} ${await reply.text()}`);
  return (await reply.json()).job.id;
}

export const stats = (server, who) => getJson(`${server.url}/api/jobs/stats`, shown(who));

// Waits until no job is open, and calls `meanwhile` now and then.
export async function allOver(server, who, meanwhile = () => {}) {
  const until = Date.now() + OVER_WAIT_MS;
  for (;;) {
    const { depth, delayed, running } = await stats(server, who);
    meanwhile();
    if (depth + delayed + running === 0) return;
    if (Date.now() > until) throw new Error(`${depth} jobs wait and ${running} run after ${OVER_WAIT_MS / 1000} s`);
    await sleep(POLL_MS);
  }
}

// Asks again and again until the job is over; when that was seen.
export async function pollUntilOver(server, who, id) {
  const until = Date.now() + END_WAIT_MS;
  while (Date.now() < until) {
    const { job } = await getJson(`${server.url}/api/jobs/${id}`, shown(who));
    if (OVER.has(job.status)) return performance.now();
    await sleep(LOOK_MS);
  }
  throw new Error(`job ${id} is not over after ${END_WAIT_MS / 1000} s`);
}

// All jobs of a tenant, without what is large.
export async function listed(server, who) {
  const items = [];
  for (let cursor = ''; ;) {
    const page = await getJson(`${server.url}/api/jobs?limit=${PAGE_ROWS}${cursor}`, shown(who));
    items.push(...page.items);
    if (!page.next_cursor) return items;
    cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`;
  }
}

// Watches a tenant live and comes again with the last id when its stream ends, as an `EventSource` does. `ended` has when
// each job was over, by its id; `twice` counts ends that were told again.
export class Watcher {
  ended = new Map();
  twice = 0;
  passed = 0;
  streams = 0;
  // What the server said when it last ended a stream.
  why = 'none';
  #waiting = new Map();
  #last; #going; #abort = new AbortController();

  // Resolves when the first stream is open.
  static async open(server, who) {
    const watcher = new Watcher();
    await new Promise((done, failed) => {
      watcher.#going = watcher.#watch(server, who, done).catch(failed);
    });
    return watcher;
  }

  // When the job was over, whether that was told already or not.
  async until(id) {
    const at = this.ended.get(id);
    if (at !== undefined) return at;
    return new Promise((done, failed) => {
      const timer = setTimeout(() => failed(new Error(
        `job ${id} was not seen to end in ${END_WAIT_MS / 1000} s; ${this.ended.size} were, ${this.streams} streams were opened, `
          + `the window had passed ${this.passed} times, the last end was ${this.why}`)), END_WAIT_MS);
      this.#waiting.set(id, (now) => { clearTimeout(timer); done(now); });
    });
  }

  // Whether so many ends were seen, each once; waited for, but not for ever.
  async saw(count) {
    const until = Date.now() + SEEN_WAIT_MS;
    while (this.ended.size < count && Date.now() < until) await sleep(POLL_MS / 10);
    return this.ended.size === count && this.twice === 0 && this.passed === 0;
  }

  async close() {
    this.#abort.abort();
    await this.#going;
  }

  async #watch(server, who, opened) {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      const again = this.#last ? { 'last-event-id': this.#last } : {};
      const headers = { ...shown(who), accept: 'text/event-stream', ...again };
      try {
        const reply = await fetch(`${server.url}/api/events`, { headers, signal });
        if (!reply.ok) throw new Error(`no live events: ${reply.status} ${await reply.text()}`);
        opened();
        this.streams += 1;
        await this.#read(reply.body);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }

  async #read(body) {
    let rest = '';
    for await (const piece of body.pipeThrough(new TextDecoderStream())) {
      const events = (rest + piece).split('\n\n');
      rest = events.pop();
      for (const event of events) this.#take(event);
    }
  }

  #take(event) {
    if (event.startsWith('event: end')) this.why = event.split('\n')[1];
    const id = /^id: (.*)$/m.exec(event)?.[1];
    if (!id) return;
    this.#last = id;
    if (event.includes('event: window_passed')) this.passed += 1;
    if (!event.includes('event: job')) return;
    const { job, status } = JSON.parse(/^data: (.*)$/m.exec(event)[1]).data;
    if (!OVER.has(status)) return;
    if (this.ended.has(job)) this.twice += 1;
    const now = performance.now();
    this.ended.set(job, now);
    this.#waiting.get(job)?.(now);
    this.#waiting.delete(job);
  }
}

// User and system time of a process so far, in microseconds.
export function cpuUs({ pid }) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop().split(' ');
  return (Number(fields[USER_FIELD]) + Number(fields[SYSTEM_FIELD])) * TICK_US;
}

// What a process has in memory, in megabytes.
export function residentMb({ pid }) {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
}

export function spread(times) {
  const list = [...times].sort((a, b) => a - b);
  const at = (share) => list[Math.min(list.length - 1, Math.floor(list.length * share))];
  return { p50_ms: at(0.5), p99_ms: at(0.99) };
}
