// Jobs: how fast they are made, how long one takes from its making to its end as its client sees it, alone and before
// a thousand that wait, how fast a queue is drained, what more listeners cost, and what workerd has in memory. The mock
// provider answers at once.
import { HOT_CONNECTIONS, LISTENERS, QUEUED_JOBS, WARMUP_REQUESTS, settings } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { baseline, getJson, product } from '../servers.mjs';
import { ASK_CREDITS, asking, booksOf, guests } from '../product.mjs';
import { Watcher, allOver, cpuUs, listed, make, making, pollUntilOver, residentMb, sleep, spread, stats } from '../jobs.mjs';

const MAKING = { connections: HOT_CONNECTIONS, order: 'cycle', warmup_requests: WARMUP_REQUESTS };
// A tenant may have ten thousand jobs open.
const MAKING_SECONDS_MAX = 2;
const FAR_S = 2_592_000;
const FILL_CONNECTIONS = 8;
// Below any machine's rate of making, so that a queue is whole before it is due.
const FILLED_PER_SECOND_LEAST = 100;
const FILL_MARGIN_S = 2;
const FIRST_PRIORITY = 9;
// Of the thousand: with fewer that wait, nothing is timed any more.
const STILL_QUEUED_LEAST = 100;

const one = async () => {
  const server = await product(0);
  const [who] = await guests(server, 1);
  return { server, who };
};
const bill = (server, who, operations) => booksOf(server, [who.email], { operations, credits: ASK_CREDITS, usage: true });

async function enqueue() {
  const { server, who } = await one();
  const seconds = Math.min(settings.secondsEach, MAKING_SECONDS_MAX);
  const result = await sendLoad(server, { ...MAKING, seconds, requests: [making(who, { delay_s: FAR_S })] });
  const { delayed } = await stats(server, who);
  const { open } = await getJson(`${server.url}/api/credits/holds`, { authorization: `Bearer ${who.token}` });
  const ok = delayed === result.acknowledged && open === result.acknowledged;
  return { ...result, check: { ok, text: `${delayed} jobs, ${open} holds, ${result.acknowledged} acknowledged` } };
}

async function enqueueInJavascript(round) {
  const server = await baseline('jobs');
  const name = `jobs-${round}`;
  const seconds = Math.min(settings.secondsEach, MAKING_SECONDS_MAX);
  const requests = [{ ...making({ token: 'not-looked-at' }), path: `/enqueue/${name}` }];
  const result = await sendLoad(server, { ...MAKING, seconds, requests });
  const { jobs, holds } = await getJson(`${server.url}/books/${name}`);
  const ok = jobs === result.acknowledged && holds === result.acknowledged;
  return { ...result, check: { ok, text: `${jobs} jobs, ${holds} holds, ${result.acknowledged} acknowledged` } };
}

// One after the other, each to its end as `ended` sees it, as long as `goesOn`.
async function timed(server, who, ended, more, goesOn) {
  const times = [];
  const [began, cpu] = [performance.now(), cpuUs(server)];
  do {
    const sent = performance.now();
    times.push(await ended(await make(server, who, more)) - sent);
  } while (await goesOn());
  const seconds = (performance.now() - began) / 1000;
  return {
    ...spread(times), made: times.length, per_second: times.length / seconds,
    server_cpu_us: (cpuUs(server) - cpu) / times.length,
  };
}

// One job after the other, seen live by the client that makes them and by `others`. A steady rate, because who is told of
// many jobs at once may be cut off, and what it costs to be told is to be measured.
async function alone(others) {
  const { server, who } = await one();
  const watcher = await Watcher.open(server, who);
  const listeners = [];
  for (let n = 0; n < others; n += 1) listeners.push(await Watcher.open(server, who));
  const until = performance.now() + settings.secondsEach * 1000;
  const result = await timed(server, who, (id) => watcher.until(id), {}, () => performance.now() < until);
  const saw = await Promise.all(listeners.map((listener) => listener.saw(result.made)));
  await Promise.all([watcher, ...listeners].map((listener) => listener.close()));
  const check = await bill(server, who, result.made);
  const heard = others > 0 ? `${saw.filter(Boolean).length} of ${others} others saw each end once; ` : '';
  return { ...result, check: { ok: check.ok && saw.every(Boolean), text: `${heard}${check.text}` } };
}

// The same question, answered while its client waits.
async function asked() {
  const { server, who } = await one();
  const result = await sendLoad(server, { connections: 1, order: 'cycle', warmup_requests: 10, requests: [asking(who)] });
  return { ...result, check: await bill(server, who, result.acknowledged) };
}

// Makes `count` jobs that are all due at one moment, and waits for it.
async function filled(server, who, count) {
  const now_s = Math.ceil(Date.now() / 1000);
  const due_s = now_s + Math.ceil(count / FILLED_PER_SECOND_LEAST) + FILL_MARGIN_S;
  const requests = Array.from({ length: count }, () => making(who, { run_at: due_s }));
  const { acknowledged } = await sendLoad(server, { requests, order: 'once', connections: FILL_CONNECTIONS, seconds: 600 });
  const left_ms = due_s * 1000 - Date.now();
  if (acknowledged !== count || left_ms <= 0) throw new Error(`${acknowledged} of ${count} jobs made, ${left_ms} ms before their time`);
  return { due_ms: due_s * 1000, due: () => sleep(due_s * 1000 - Date.now()) };
}

// The thousand are made faster than they are done, so most of them still wait when the first is timed. Nobody watches live:
// who is told of a thousand jobs at once may be cut off.
async function beforeAThousand() {
  const { server, who } = await one();
  const requests = Array.from({ length: QUEUED_JOBS }, () => making(who));
  await sendLoad(server, { requests, order: 'once', connections: HOT_CONNECTIONS, seconds: 600 });
  const { depth } = await stats(server, who);
  const goesOn = async () => (await stats(server, who)).depth >= STILL_QUEUED_LEAST;
  const result = await timed(server, who, (id) => pollUntilOver(server, who, id), { priority: FIRST_PRIORITY }, goesOn);
  await allOver(server, who);
  const check = await bill(server, who, QUEUED_JOBS + result.made);
  const queued = depth >= STILL_QUEUED_LEAST;
  const text = `${result.made} timed, ${depth} waited when the first was made; ${check.text}`;
  // What the others took is in the processor time too.
  return { ...result, server_cpu_us: null, check: { ok: check.ok && queued, text } };
}

// From the moment at which all are due to the end of the last.
async function drained(memory) {
  const { server, who } = await one();
  const { due_ms, due } = await filled(server, who, settings.jobs);
  await due();
  const [cpu, before_mb] = [cpuUs(server), residentMb(server)];
  let most_mb = before_mb;
  await allOver(server, who, () => { most_mb = Math.max(most_mb, residentMb(server)); });
  const server_cpu_us = (cpuUs(server) - cpu) / settings.jobs;
  memory.push({ before_mb, most_mb, after_mb: residentMb(server) });
  const jobs = await listed(server, who);
  const succeeded = jobs.filter(({ status }) => status === 'succeeded');
  const times = succeeded.map(({ finished_at: at }) => Date.parse(at) - due_ms);
  const check = await bill(server, who, settings.jobs);
  const whole = succeeded.length === settings.jobs && jobs.length === settings.jobs;
  const text = `${succeeded.length} of ${jobs.length} jobs succeeded; ${check.text}`;
  return {
    ...spread(times), per_second: settings.jobs / (Math.max(...times) / 1000), server_cpu_us,
    check: { ok: check.ok && whole, text },
  };
}

const inMegabytes = (list) => list.map(({ before_mb: before, most_mb: most, after_mb: after }) => (
  `${before.toFixed(0)}/${most.toFixed(0)}/${after.toFixed(0)}`)).join(', ');

export function jobs() {
  const memory = [];
  const notes = ['a job’s making has a baseline; a queue that holds credit has none, so its other rows are compared with '
    + 'asks of the same product, or with each other'];
  const row = (title, ours, other, of, lowerIsBetter) => ({ id: '', title, ours, other, of, lowerIsBetter });
  const watched = `job, ${LISTENERS} more listen`;
  const many = settings.jobs.toLocaleString('en');
  return {
    contenders: {
      enqueue,
      'enqueue in JavaScript': enqueueInJavascript,
      'job, alone': () => alone(0),
      [watched]: () => alone(LISTENERS),
      'ask, alone': asked,
      'job, before a thousand': beforeAThousand,
      drain: () => drained(memory),
    },
    finalChecks: () => {
      notes.push(`workerd’s memory before/at most in/after each drain of ${many} jobs, MB, in the order of the rounds, the one `
        + `that does not count first: ${inMegabytes(memory)}. It is one process, which does the other runs between them`);
      return {};
    },
    rows: [
      row('job made, 1 tenant, 32 connections ÷ the same rows by JavaScript, deciding nothing', 'enqueue', 'enqueue in JavaScript',
        'per_second'),
      row('job, from its making to its end seen live ÷ the same ask, p50', 'job, alone', 'ask, alone', 'p50_ms', true),
      row('the same, p99', 'job, alone', 'ask, alone', 'p99_ms', true),
      row('job that goes before 1,000 that wait ÷ alone, p50', 'job, before a thousand', 'job, alone', 'p50_ms', true),
      row('the same, p99', 'job, before a thousand', 'job, alone', 'p99_ms', true),
      row(`job watched by ${LISTENERS} more ÷ by its client alone, server CPU a job`, watched, 'job, alone', 'server_cpu_us', true),
      row('the same, p50', watched, 'job, alone', 'p50_ms', true),
      row(`drain of ${many} jobs, jobs a second ÷ asks one after the other`, 'drain', 'ask, alone', 'per_second'),
    ],
    notes,
  };
}
