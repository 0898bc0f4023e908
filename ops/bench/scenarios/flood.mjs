// P13, the other half: what a tenant notices of an abuser who floods with requests that are refused. Asks at a steady
// rate, alone and beside a flood of ten times as many. The same in JavaScript, with the cheapest request there is as its
// flood, says how much of it is queueing for one processor core, which no refusal can avoid.
import { FLOOD_CONNECTIONS, FLOOD_PER_SECOND, NORMAL_ASKS_PER_SECOND, WARMUP_REQUESTS, settings } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { baseline, product } from '../servers.mjs';
import { asking, guests } from '../product.mjs';
import { overBudget } from './abuser.mjs';

const FLOOD_LEAD_MS = 300;
const FLOOD_TAIL_SECONDS = 1;
const NORMAL_CONNECTIONS = 16;
const NORMAL_WARMUP_REQUESTS = 10;
// Room for one run of the normal tenant, which is a new one each time.
const requestsPerMinute = Math.ceil(NORMAL_ASKS_PER_SECOND * (settings.secondsEach + 1)) + 100;

async function normal(server, request) {
  const result = await sendLoad(server, {
    connections: NORMAL_CONNECTIONS, order: 'cycle', warmup_requests: NORMAL_WARMUP_REQUESTS,
    rate_per_second: NORMAL_ASKS_PER_SECOND, requests: [request],
  });
  return { ...result, intended_per_second: NORMAL_ASKS_PER_SECOND };
}

async function beside(server, flood, request) {
  const flooding = sendLoad(server, {
    connections: FLOOD_CONNECTIONS, order: 'cycle', warmup_requests: WARMUP_REQUESTS,
    rate_per_second: FLOOD_PER_SECOND, ...flood,
    seconds: settings.secondsEach + FLOOD_TAIL_SECONDS,
  });
  await new Promise((done) => { setTimeout(done, FLOOD_LEAD_MS); });
  // Both are awaited whatever happens, so that none is left running.
  const [result, flooded] = await Promise.allSettled([normal(server, request), flooding]);
  if (result.status === 'rejected') throw result.reason;
  if (flooded.status === 'rejected') throw flooded.reason;
  return { ...result.value, flood_per_second: flooded.value.per_second };
}

async function ours(flooded) {
  const server = await product(requestsPerMinute);
  const [guest] = await guests(server, 1);
  if (!flooded) return normal(server, asking(guest));
  const abuser = await overBudget(server, requestsPerMinute);
  return beside(server, { requests: [asking(abuser)], expected: 429 }, asking(guest));
}

async function javascript(flooded, round) {
  const server = await baseline('governed');
  const token = await (await fetch(`${server.url}/token/steady-${flooded}-${round}`)).text();
  const request = { ...asking({ token }), path: '/ask' };
  if (!flooded) return normal(server, request);
  return beside(server, { requests: [{ method: 'GET', path: '/hello' }] }, request);
}

export function flood() {
  const row = (title, ours, other, of) => ({ id: 'P13', title, ours, other, of, lowerIsBetter: true });
  const what = `ask at ${NORMAL_ASKS_PER_SECOND} a second`;
  return {
    contenders: {
      'ours, quiet': () => ours(false),
      'ours, flooded': () => ours(true),
      'javascript, quiet': (round) => javascript(false, round),
      'javascript, flooded': (round) => javascript(true, round),
    },
    rows: [
      row(`${what} of another tenant, p50: beside ${FLOOD_PER_SECOND} refused a second ÷ without`, 'ours, flooded', 'ours, quiet',
        'p50_ms'),
      row('the same, p99', 'ours, flooded', 'ours, quiet', 'p99_ms'),
      row(`governed JavaScript, p50: beside as many of hello ÷ without`, 'javascript, flooded', 'javascript, quiet',
        'p50_ms'),
      row('the same, p99', 'javascript, flooded', 'javascript, quiet', 'p99_ms'),
      row(`${what}, without a flood, p99 ÷ governed JavaScript`, 'ours, quiet', 'javascript, quiet', 'p99_ms'),
    ],
  };
}
