// What the benchmarks do at the product beside the load: make tenants, give them credit, and look at the books after.
import { sendLoad } from './load.mjs';
import { ADMIN_KEY, getJson } from './servers.mjs';

const ADMIN = { 'x-admin-key': ADMIN_KEY };
const PAGE_ROWS = 100;
const SETTLE_TRIES = 50;
const SETTLE_WAIT_MS = 100;
const AT_ONCE = 8;
export const OPENING_CREDITS = 1_000_000;
// 54 tokens of the mock provider at 0.05 for a thousand, rounded half up to the thousandth.
export const ASK_CREDITS = 0.003;
// The same to compare sums with: products of 0.003 are not exact.
export const ASK_MICRO = 3_000;
export const DEBIT_CREDITS = 0.001;

const thousandths = (credits) => Math.round(credits * 1000);

export const adjusting = (email, change) => ({
  method: 'POST',
  path: '/api/credits/adjust',
  headers: Object.entries(ADMIN),
  body: JSON.stringify({ email, ...change }),
});

export const debiting = (email) => adjusting(email, { delta: -DEBIT_CREDITS });

export const asking = ({ token }) => ({
  method: 'POST',
  path: '/api/si/ask',
  headers: [['authorization', `Bearer ${token}`]],
  body: JSON.stringify({ input: 'Say something about the weather of today.' }),
});

// A chat in OpenAI's format, as every gateway is asked it: `headers` say who asks. With `stream`, the mock provider is told
// how many chunks to send and how far apart.
export const chatting = (headers, stream) => ({
  method: 'POST',
  path: '/v1/chat/completions',
  headers,
  body: JSON.stringify({
    model: 'gpt-4o-mini',
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content: `Say something about the weather of today.${stream
        ? ` chunks=${stream.chunks} gap_ms=${stream.gap_ms}` : ''}` },
    ],
    temperature: 0.2,
    // Of a stream that is longer than this one would be cut off.
    max_tokens: stream ? STREAM_TOKENS_MAX : 64,
    ...(stream && { stream: true, stream_options: { include_usage: true } }),
  }),
});
const STREAM_TOKENS_MAX = 4096;

// What a stream of so many chunks costs: each is a token by the mock provider's usage.
export const streamCredits = (chunks) => Math.round((PROMPT_TOKENS + chunks) * CREDITS_PER_1K) / 1000;
const PROMPT_TOKENS = 24;
const CREDITS_PER_1K = 0.05;

// A new tenant with its opening credit and an API key, as the headers that show it.
export async function keyHolder(server, email) {
  await open(server, [email]);
  const reply = await fetch(`${server.url}/api/keys?email=${encodeURIComponent(email)}`, {
    method: 'POST', headers: { ...ADMIN, 'content-type': 'application/json' }, body: '{"name":"benchmark"}',
  });
  if (!reply.ok) throw new Error(`no API key: ${reply.status} ${await reply.text()}`);
  const { key } = await reply.json();
  return { email, headers: [['authorization', `Bearer ${key}`]] };
}

// Gives each tenant its opening credit. One entry each, the first of its ledger.
export async function open(server, emails) {
  const requests = emails.map((email) => adjusting(email, { set: OPENING_CREDITS }));
  await sendLoad(server, { requests, order: 'once', connections: AT_ONCE, seconds: 600 });
}

// New guests, with the name that the operator knows them by, their token, and their opening credit.
export async function guests(server, count) {
  const made = await inParallel(Array.from({ length: count }), async () => {
    const reply = await fetch(`${server.url}/auth/guest`, { method: 'POST' });
    if (!reply.ok) throw new Error(`no guest token: ${reply.status} ${await reply.text()}`);
    const { token } = await reply.json();
    const { sub } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
    return { email: sub, token };
  });
  await open(server, made.map(({ email }) => email));
  return made;
}

// Whether tenants that were opened by `open` show `operations` of `credits` each, all of them together: as many
// ledger rows, each balance less by exactly that, no hold left open. With `usage`, as many usage rows too. What costs
// nothing has no row in the ledger.
export async function booksOf(server, emails, { operations, credits, usage = false }) {
  let books;
  const rows = credits === 0 ? 0 : operations;
  for (let tries = 0; tries < SETTLE_TRIES; tries += 1) {
    books = await sumUp(server, emails, usage);
    const spent = thousandths(credits) * operations;
    const agree = books.rows === rows && books.spent === spent && books.taken === spent && books.open === 0
      && (!usage || books.usage === operations);
    if (agree) return { ok: true, text: `${books.rows} rows, ${operations} acknowledged, balance exact` };
    // A settle may still be under way.
    await new Promise((done) => { setTimeout(done, SETTLE_WAIT_MS); });
  }
  return { ok: false, text: `${operations} acknowledged, but ${JSON.stringify(books)}` };
}

async function sumUp(server, emails, withUsage) {
  const each = await inParallel(emails, async (email) => {
    const who = `email=${encodeURIComponent(email)}`;
    const { balance } = await getJson(`${server.url}/api/credits?${who}`, ADMIN);
    const { open: holds } = await getJson(`${server.url}/api/credits/holds?${who}`, ADMIN);
    const entries = (await walk(server, `/api/credits/ledger?${who}`)).slice(0, -1); // the oldest is the opening
    return {
      rows: entries.length,
      taken: entries.reduce((sum, { amount }) => sum - thousandths(amount), 0),
      spent: thousandths(OPENING_CREDITS) - thousandths(balance),
      open: holds,
      usage: withUsage ? (await walk(server, `/api/billing/usage?${who}`)).length : 0,
    };
  });
  return each.reduce((sum, one) => {
    for (const name of Object.keys(one)) sum[name] = (sum[name] ?? 0) + one[name];
    return sum;
  }, {});
}

async function walk(server, path) {
  const items = [];
  for (let cursor = ''; ;) {
    const page = await getJson(`${server.url}${path}&limit=${PAGE_ROWS}${cursor}`, ADMIN);
    items.push(...page.items);
    if (!page.next_cursor) return items;
    cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`;
  }
}

async function inParallel(list, work) {
  const results = new Array(list.length);
  let next = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (next < list.length) {
      const at = next;
      next += 1;
      results[at] = await work(list[at]);
    }
  }));
  return results;
}
