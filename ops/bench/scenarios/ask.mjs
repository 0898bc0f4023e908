// P9: the whole of an ask (token, hold, provider, settle, usage row) against the same job in JavaScript.
import { HOT_CONNECTIONS, TENANTS, WARMUP_REQUESTS } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { baseline, getJson, mock, product } from '../servers.mjs';
import { ASK_CREDITS, ASK_MICRO, asking, booksOf, guests } from '../product.mjs';

const hot = (connections) => ({ connections, order: 'cycle', warmup_requests: WARMUP_REQUESTS });
const many = { connections: HOT_CONNECTIONS, order: 'random', warmup_requests: TENANTS };

const ourHot = (connections) => async () => {
  const server = await product(0);
  const [guest] = await guests(server, 1);
  const result = await sendLoad(server, { ...hot(connections), requests: [asking(guest)] });
  const books = { operations: result.acknowledged, credits: ASK_CREDITS, usage: true };
  return { ...result, check: await booksOf(server, [guest.email], books) };
};

// A thousand tenants are looked at once, after the last round.
async function ourMany(server) {
  const all = await guests(server, TENANTS);
  let operations = 0;
  return {
    async run() {
      const result = await sendLoad(server, { ...many, requests: all.map(asking) });
      operations += result.acknowledged;
      return result;
    },
    books: () => booksOf(server, all.map(({ email }) => email), { operations, credits: ASK_CREDITS }),
  };
}

async function tokenOf(server, name) {
  return { name, token: await (await fetch(`${server.url}/token/${name}`)).text() };
}

const governedAsk = (tenant) => ({ ...asking(tenant), path: '/ask' });

async function governedBooks(server, names, operations) {
  const sum = { rows: 0, usage: 0, spent_micro: 0, held_micro: 0 };
  for (const name of names) {
    const books = await getJson(`${server.url}/books/${name}`);
    for (const part of Object.keys(sum)) sum[part] += books[part];
  }
  const ok = sum.rows === operations && sum.usage === operations && sum.held_micro === 0
    && sum.spent_micro === operations * ASK_MICRO;
  return { ok, text: `${JSON.stringify(sum)}, ${operations} acknowledged` };
}

const governedHot = (connections) => async (round) => {
  const server = await baseline('governed');
  const tenant = await tokenOf(server, `hot-${connections}-${round}`);
  const result = await sendLoad(server, { ...hot(connections), requests: [governedAsk(tenant)] });
  return { ...result, check: await governedBooks(server, [tenant.name], result.acknowledged) };
};

async function governedMany(server) {
  const all = [];
  for (let n = 0; n < TENANTS; n += 1) all.push(await tokenOf(server, `many-${n}`));
  let operations = 0;
  return {
    async run() {
      const result = await sendLoad(server, { ...many, requests: all.map(governedAsk) });
      operations += result.acknowledged;
      return result;
    },
    books: () => governedBooks(server, all.map(({ name }) => name), operations),
  };
}

// What the provider and the load can do by themselves: far more than any gateway, or they are what is measured.
async function mockAlone() {
  const request = { method: 'POST', path: '/v1/chat/completions', body: '{"messages":[]}' };
  const { address, name, pid } = await mock();
  const result = await sendLoad({ address, name, pid }, { ...hot(HOT_CONNECTIONS), requests: [request], seconds: 1 });
  return `the mock provider alone, on the load's own core: ${Math.round(result.per_second)} answers a second `
    + `(p50 ${result.p50_ms.toFixed(2)} ms) at ${HOT_CONNECTIONS} connections`;
}

export async function ask() {
  const row = (title, ours, other, of, target) => ({ id: 'P9', title, ours, other, of, target });
  const informative = { least: 1.2, informative: true };
  const ourThousand = await ourMany(await product(0));
  const theirThousand = await governedMany(await baseline('governed'));
  return {
    contenders: {
      'ours, 1 connection': ourHot(1),
      'javascript, 1 connection': governedHot(1),
      'ours, 32 connections': ourHot(HOT_CONNECTIONS),
      'javascript, 32 connections': governedHot(HOT_CONNECTIONS),
      'ours, 1,000 tenants': ourThousand.run,
      'javascript, 1,000 tenants': theirThousand.run,
    },
    finalChecks: async () => ({
      'ours, 1,000 tenants': await ourThousand.books(),
      'javascript, 1,000 tenants': await theirThousand.books(),
    }),
    rows: [
      row('ask, 1 tenant, 1 connection ÷ governed JavaScript', 'ours, 1 connection', 'javascript, 1 connection',
        'per_second', informative),
      row('ask, 1 hot tenant, 32 connections ÷ governed JavaScript', 'ours, 32 connections',
        'javascript, 32 connections', 'per_second', informative),
      row('ask over 1,000 tenants, 32 connections ÷ governed JavaScript', 'ours, 1,000 tenants',
        'javascript, 1,000 tenants', 'per_second', informative),
    ],
    notes: [await mockAlone()],
  };
}
