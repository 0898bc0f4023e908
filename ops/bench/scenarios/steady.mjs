// P9, the other half: what a gateway adds to the latency of its provider at a steady rate that it is far from filled by.
// The provider by itself is measured in the same round, and taken off. LiteLLM does not reach this rate.
import { STEADY_CONNECTIONS, STEADY_PER_SECOND, STEADY_WINDOWS, WARMUP_REQUESTS, settings } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { portkey } from '../peers.mjs';
import { baseline, mock, product } from '../servers.mjs';
import { ASK_CREDITS, booksOf, chatting, keyHolder } from '../product.mjs';

async function send(server, headers) {
  const result = await sendLoad(server, {
    connections: STEADY_CONNECTIONS, order: 'cycle', warmup_requests: WARMUP_REQUESTS, rate_per_second: STEADY_PER_SECOND,
    seconds: settings.secondsEach * STEADY_WINDOWS, requests: [chatting(headers)],
  });
  return { ...result, intended_per_second: STEADY_PER_SECOND };
}

async function ours(round) {
  const server = await product(0);
  const { email, headers } = await keyHolder(server, `steady-${round}@bench.example`);
  const result = await send(server, headers);
  const books = { operations: result.acknowledged, credits: ASK_CREDITS, usage: true };
  return { ...result, check: await booksOf(server, [email], books) };
}

async function governed(round) {
  const server = await baseline('governed');
  const token = await (await fetch(`${server.url}/token/steady-chat-${round}`)).text();
  return send(server, [['authorization', `Bearer ${token}`]]);
}

async function others() {
  const server = await portkey();
  return send(server, server.headers);
}

export function steady() {
  const row = (id, figure, other, more) => ({
    id, title: `chat at ${STEADY_PER_SECOND} a second, ${figure} beyond the provider's ÷ ${other}'s`,
    of: `${figure}_ms`, other, less: 'provider alone', ...more,
  });
  const javascript = 'ungoverned JavaScript';
  return {
    contenders: {
      ours,
      'governed JavaScript': governed,
      [javascript]: async () => send(await baseline('gateway'), [['authorization', 'Bearer sk-benchmark']]),
      Portkey: others,
      'provider alone': async () => send(await mock(), []),
    },
    others: ['Portkey'],
    rows: [
      row('P9', 'p99', javascript, { target: { most: 2.5 } }),
      row('', 'p50', javascript),
      row('', 'p99', 'governed JavaScript'),
      row('', 'p50', 'governed JavaScript'),
      row('', 'p99', 'Portkey'),
      row('', 'p50', 'Portkey'),
    ],
  };
}
