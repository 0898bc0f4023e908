// P7, P8, P9: the whole of a chat (API key, hold, provider, settle, usage row) against gateways of others, which keep no
// books, and against the same job in JavaScript.
import { HOT_CONNECTIONS, PEER_WARMUP_REQUESTS, WARMUP_REQUESTS } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { PEER_VERSIONS, litellm, portkey } from '../peers.mjs';
import { baseline, getJson, product } from '../servers.mjs';
import { ASK_CREDITS, ASK_MICRO, booksOf, chatting, keyHolder } from '../product.mjs';

const load = (connections, warmup) => ({ connections, order: 'cycle', warmup_requests: warmup });

const ours = (connections) => async (round) => {
  const server = await product(0);
  const { email, headers } = await keyHolder(server, `chat-${connections}-${round}@bench.example`);
  const result = await sendLoad(server, { ...load(connections, WARMUP_REQUESTS), requests: [chatting(headers)] });
  const books = { operations: result.acknowledged, credits: ASK_CREDITS, usage: true };
  return { ...result, check: await booksOf(server, [email], books) };
};

const governed = (connections) => async (round) => {
  const server = await baseline('governed');
  const name = `chat-${connections}-${round}`;
  const token = await (await fetch(`${server.url}/token/${name}`)).text();
  const request = chatting([['authorization', `Bearer ${token}`]]);
  const result = await sendLoad(server, { ...load(connections, WARMUP_REQUESTS), requests: [request] });
  const books = await getJson(`${server.url}/books/${name}`);
  const { acknowledged } = result;
  const ok = books.rows === acknowledged && books.usage === acknowledged && books.held_micro === 0
    && books.spent_micro === acknowledged * ASK_MICRO;
  return { ...result, check: { ok, text: `${JSON.stringify(books)}, ${acknowledged} acknowledged` } };
};

const peer = (gateway, connections) => async () => {
  const server = await gateway();
  return sendLoad(server, { ...load(connections, PEER_WARMUP_REQUESTS), requests: [chatting(server.headers)] });
};

// The contenders and rows at so many connections.
function at(connections) {
  const named = (who) => `${who}, ${connections} connection${connections === 1 ? '' : 's'}`;
  const title = named('chat');
  const row = (id, what, of, other, target) =>
    ({ id, title: `${what}, ${title} ÷ ${other}`, of, ours: named('ours'), other: named(other), target });
  return {
    contenders: {
      [named('ours')]: ours(connections),
      [named('governed JavaScript')]: governed(connections),
      [named('Portkey')]: peer(portkey, connections),
      [named('LiteLLM')]: peer(litellm, connections),
    },
    others: [named('Portkey'), named('LiteLLM')],
    rows: [
      row('P7', 'throughput', 'per_second', 'Portkey', { least: 1.5 }),
      row('P7', 'CPU', 'server_cpu_us', 'Portkey', { most: 0.6 }),
      row('P8', 'CPU', 'server_cpu_us', 'LiteLLM', { most: 1 / 28, shown: '1/28' }),
      row('', 'throughput', 'per_second', 'LiteLLM'),
      row('P9', 'throughput', 'per_second', 'governed JavaScript', { least: 1.2 }),
      row('', 'CPU', 'server_cpu_us', 'governed JavaScript'),
    ],
  };
}

export function chat() {
  const [one, many] = [at(1), at(HOT_CONNECTIONS)];
  return {
    contenders: { ...one.contenders, ...many.contenders },
    others: [...one.others, ...many.others],
    rows: [...one.rows, ...many.rows],
    notes: [PEER_VERSIONS],
  };
}
