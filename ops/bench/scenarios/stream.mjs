// P10: a streamed chat. The mock provider writes into each chunk when it was sent, so what a gateway adds to the way of a
// chunk is measured chunk by chunk: at one connection with chunks as models send them, some time apart. What a chunk costs
// is measured where they come as fast as they are taken, and where many streams come slowly at once.
import { HOT_CONNECTIONS, settings } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { litellm, portkey } from '../peers.mjs';
import { baseline, mock, product } from '../servers.mjs';
import { booksOf, chatting, keyHolder, streamCredits } from '../product.mjs';

const PACED = { chunks: 16, gap_ms: 10 };
const FAST = { chunks: 2000, gap_ms: 0 };
// `streams` for each second of a window. They are counted and not timed, because one may take as long as a window.
const FORMS = {
  alone: { stream: PACED, connections: 1, warmup: 3, streams: 15, title: '16 chunks 10 ms apart, 1 connection' },
  many: {
    stream: PACED, connections: HOT_CONNECTIONS, warmup: 64, streams: 160, title: '16 chunks 10 ms apart, 32 connections',
  },
  fast: { stream: FAST, connections: 1, warmup: 3, streams: 10, title: '2,000 chunks at once, 1 connection' },
};
const SECONDS_MAX = 600;
const RAW = 'JavaScript, raw pass-through';
const READING = 'JavaScript that parses every event';
const PROVIDER = 'provider alone';
// Those that take a second for what is a tenth of one elsewhere are given less of it.
const SHARE_OF_OTHERS = 0.25;
const OTHERS = { Portkey: portkey, LiteLLM: litellm };

// The figures of one form, and what a chunk costs. A gateway that leaves chunks out or gathers them is not measured.
async function send(server, { stream, connections, warmup, streams }, request, share = 1) {
  const measured = Math.max(Math.ceil(streams * settings.secondsEach * share), connections);
  const result = await sendLoad(server, {
    connections, order: 'once', warmup_requests: warmup, seconds: SECONDS_MAX, streamed: true,
    requests: Array.from({ length: warmup + measured }, () => request),
  });
  if (result.chunks_each !== stream.chunks) {
    throw new Error(`${server.name}: ${result.chunks_each} chunks of ${stream.chunks} came`);
  }
  return { ...result, chunk_cpu_us: result.server_cpu_us / stream.chunks };
}

const ours = (form, name) => async (round) => {
  const server = await product(0);
  const { email, headers } = await keyHolder(server, `stream-${name}-${round}@bench.example`);
  const result = await send(server, form, chatting(headers, form.stream));
  const books = { operations: result.acknowledged, credits: streamCredits(form.stream.chunks), usage: true };
  return { ...result, check: await booksOf(server, [email], books) };
};

const javascript = (form, prefix) => async () => {
  const request = chatting([['authorization', 'Bearer sk-benchmark']], form.stream);
  return send(await baseline('gateway'), form, { ...request, path: `${prefix}${request.path}` });
};

const provider = (form) => async () => send(await mock(), form, chatting([], form.stream));

const other = (gateway, form) => async () => {
  const server = await gateway();
  return send(server, form, chatting(server.headers, form.stream), SHARE_OF_OTHERS);
};

export function stream() {
  const contenders = {};
  const others = [];
  for (const [name, form] of Object.entries(FORMS)) {
    contenders[`ours, ${name}`] = ours(form, name);
    contenders[`${RAW}, ${name}`] = javascript(form, '/raw');
    contenders[`${READING}, ${name}`] = javascript(form, '/read');
    if (name === 'alone') contenders[`${PROVIDER}, ${name}`] = provider(form);
    for (const [who, gateway] of Object.entries(OTHERS)) {
      contenders[`${who}, ${name}`] = other(gateway, form);
      others.push(`${who}, ${name}`);
    }
  }
  const row = (id, what, of, name, against, more) => ({
    id, title: `${what}, ${FORMS[name].title} ÷ ${against}`, of, ours: `ours, ${name}`, other: `${against}, ${name}`, ...more,
  });
  const added = (id, what, of, against, target) =>
    row(id, `${what} beyond the provider's`, of, 'alone', against, { less: `${PROVIDER}, alone`, target });
  const most = { most: 1.1 };
  return {
    contenders,
    others,
    rows: [
      added('P10', 'time to first byte, p50,', 'first_byte_p50_ms', RAW, most),
      added('P10', "a chunk's way, p50,", 'chunk_p50_ms', RAW, most),
      added('', "a chunk's way, p99,", 'chunk_p99_ms', RAW),
      row('P10', 'CPU a chunk', 'chunk_cpu_us', 'fast', RAW, { target: most }),
      row('', 'CPU a chunk', 'chunk_cpu_us', 'many', RAW),
      added('', "a chunk's way, p50,", 'chunk_p50_ms', READING),
      row('', 'CPU a chunk', 'chunk_cpu_us', 'fast', READING),
      row('', 'CPU a chunk', 'chunk_cpu_us', 'many', READING),
      ...Object.keys(OTHERS).flatMap((who) => [
        added('', 'time to first byte, p50,', 'first_byte_p50_ms', who),
        added('', "a chunk's way, p50,", 'chunk_p50_ms', who),
        row('', 'CPU a chunk', 'chunk_cpu_us', 'fast', who),
        row('', 'CPU a chunk', 'chunk_cpu_us', 'many', who),
      ]),
    ],
  };
}
