// P6: a chat that is passed on and metered, where it costs nothing. Ours has no mode without accounts: it sets zero credits
// aside and settles zero, each in a durable transaction, and writes its usage row, as always.
import { HOT_CONNECTIONS, WARMUP_REQUESTS } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { baseline, productForFree } from '../servers.mjs';
import { booksOf, chatting, keyHolder } from '../product.mjs';

const LOAD = { connections: HOT_CONNECTIONS, order: 'cycle', warmup_requests: WARMUP_REQUESTS };
const HEADERS = [['authorization', 'Bearer sk-benchmark']];

async function ours(round) {
  const server = await productForFree();
  const { email, headers } = await keyHolder(server, `free-${round}@bench.example`);
  const result = await sendLoad(server, { ...LOAD, requests: [chatting(headers)] });
  const books = { operations: result.acknowledged, credits: 0, usage: true };
  return { ...result, check: await booksOf(server, [email], books) };
}

const javascript = (prefix) => async () => {
  const request = chatting(HEADERS);
  return sendLoad(await baseline('gateway'), { ...LOAD, requests: [{ ...request, path: `${prefix}${request.path}` }] });
};

export function passThrough() {
  const title = 'chat that costs nothing (zero credits held and settled, usage row), 32 connections';
  const row = (id, what, of, other, more) => ({ id, title: `${what}, ${title} ÷ ${other}`, of, other, ...more });
  return {
    contenders: {
      ours,
      'JavaScript parsing body and usage': javascript(''),
      'JavaScript, raw pass-through': javascript('/raw'),
    },
    rows: [
      row('P6', 'CPU', 'server_cpu_us', 'JavaScript parsing body and usage', { target: { most: 1.05 } }),
      row('', 'throughput', 'per_second', 'JavaScript parsing body and usage'),
      row('', 'CPU', 'server_cpu_us', 'JavaScript, raw pass-through'),
    ],
  };
}
