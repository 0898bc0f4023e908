// P15: the first request for a tenant that nobody has seen, which makes its database.
import { FIRST_TOUCH_CONNECTIONS, settings } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { ADMIN_KEY, baseline, getJson, product } from '../servers.mjs';
import { adjusting } from '../product.mjs';

// More than can be made in the window.
const names = (round) => Array.from({ length: Math.ceil(settings.secondsEach * 2000) }, (_, n) => `new-${round}-${n}`);
const LOAD = { connections: FIRST_TOUCH_CONNECTIONS, order: 'once', warmup_requests: 20 };
const CHECKED_TENANTS = 20;
const ADMIN = { 'x-admin-key': ADMIN_KEY };

async function ours(round) {
  const server = await product(0);
  const emails = names(round).map((name) => `${name}@bench.example`);
  const requests = emails.map((email) => adjusting(email, { delta: 1 }));
  const result = await sendLoad(server, { ...LOAD, requests });
  const step = Math.max(1, Math.floor(result.acknowledged / CHECKED_TENANTS));
  let ok = true;
  for (let n = 0; n < result.acknowledged; n += step) {
    const { items } = await getJson(`${server.url}/api/credits/ledger?email=${emails[n]}`, ADMIN);
    ok &&= items.length === 1 && items[0].balance === 1;
  }
  return { ...result, check: { ok, text: `${CHECKED_TENANTS} of ${result.acknowledged} tenants looked at` } };
}

async function javascript(round) {
  const requests = names(round).map((name) => ({ method: 'POST', path: `/touch/${name}` }));
  return sendLoad(await baseline('ledger'), { ...LOAD, requests });
}

// The same requests, the same tables and rows, and nothing decided.
async function undecided(round) {
  const server = await baseline('around');
  const emails = names(round).map((name) => `${name}@bench.example`);
  const result = await sendLoad(server, { ...LOAD, requests: emails.map((email) => adjusting(email, { delta: 1 })) });
  const last = await getJson(`${server.url}/books/${emails[result.acknowledged - 1]}`);
  return { ...result, check: { ok: last.rows === 1, text: `the last of ${result.acknowledged} tenants looked at` } };
}

export function firstTouch() {
  const row = (title, of, other, more) => ({ id: 'P15', title, of, other, lowerIsBetter: true, ...more });
  const title = 'first touch of a new tenant, 8 connections';
  return {
    contenders: { ours, javascript, undecided },
    rows: [
      row(`${title}, mean ÷ JavaScript actor with one table`, 'mean_ms', 'javascript', { target: { most: 1.2 } }),
      row('the same, p50', 'p50_ms', 'javascript', { target: { most: 1.2 } }),
      row(`${title}, mean ÷ JavaScript that makes the same tables and rows, deciding nothing`, 'mean_ms', 'undecided'),
      row('that JavaScript, mean ÷ JavaScript actor with one table', 'mean_ms', 'javascript', { ours: 'undecided' }),
    ],
  };
}
