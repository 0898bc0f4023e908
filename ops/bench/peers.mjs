// Gateways of others on the same mock provider: each installed once, started when it is first needed, on the servers' core.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { root } from './settings.mjs';
import { kept, mock } from './servers.mjs';
import { onServerCore, runToEnd, start } from './stage.mjs';

const HOST = '127.0.0.1';
const READY_TIMEOUT_MS = 120_000;
const POLL_MS = 250;
const KEY = 'sk-benchmark';

const pins = readFileSync(join(root, 'ops/setup/versions.env'), 'utf8');
const pinned = (name) => new RegExp(`^${name}_VERSION=(.*)$`, 'm').exec(pins)[1];
export const PEER_VERSIONS = `Portkey ${pinned('PORTKEY')} on Node ${process.versions.node}, LiteLLM ${pinned('LITELLM')}`;

// Their folder; throws with the installer's own words.
async function installed(name) {
  return (await runToEnd(join(root, 'ops/bench/peers.sh'), [name])).trim();
}

function freePort() {
  return new Promise((done, failed) => {
    const server = createServer().once('error', failed);
    server.listen(0, HOST, () => { const { port } = server.address(); server.close(() => done(port)); });
  });
}

// The kernel ends it with us, however we end: not every program looks at its stdin.
const endedWithUs = (command, args) => ['setpriv', ['--pdeathsig', 'KILL', '--', command, ...args]];

// Starts one, and waits until a first request has its answer: what loads on first use has then loaded.
async function started(name, command, args, { port, headers, ...options }) {
  const child = start(...onServerCore(...endedWithUs(command, args)), options);
  // What it prints is read, or it would stop at a full pipe.
  child.stdout.resume();
  const server = { name, address: `${HOST}:${port}`, url: `http://${HOST}:${port}`, pid: child.pid, headers };
  const until = Date.now() + READY_TIMEOUT_MS;
  let last = 'nothing listened';
  let gone;
  child.gone.then((how) => { gone = how; });
  while (Date.now() < until) {
    if (gone !== undefined) throw new Error(`${name} ended with ${gone}: ${child.words.slice(-600)}`);
    try {
      const body = JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }], max_tokens: 64 });
      const reply = await fetch(`${server.url}/v1/chat/completions`, {
        method: 'POST', headers: { 'content-type': 'application/json', ...Object.fromEntries(headers) }, body,
      });
      const text = await reply.text();
      if (reply.ok) return server;
      last = `${reply.status} ${text.slice(0, 300)}`;
    } catch (error) {
      last = error.cause?.message ?? error.message;
    }
    await new Promise((done) => { setTimeout(done, POLL_MS); });
  }
  child.kill('SIGKILL');
  throw new Error(`${name} did not answer within ${READY_TIMEOUT_MS / 1000} s: ${last}`);
}

// Without any accounting: it passes on, with its hooks and its parsing of headers.
export const portkey = () => kept('portkey', async () => {
  const [folder, upstream, port] = [await installed('portkey'), (await mock()).url, await freePort()];
  const script = join(folder, 'node_modules/@portkey-ai/gateway/build/start-server.js');
  return started('Portkey', process.execPath, [script, `--port=${port}`, '--headless'], {
    port,
    cwd: folder,
    // Its guard against requests into the own network must let the mock provider through.
    env: { ...process.env, NODE_ENV: 'production', TRUSTED_CUSTOM_HOSTS: `${HOST},localhost` },
    headers: [
      ['authorization', `Bearer ${KEY}`], ['x-portkey-provider', 'openai'], ['x-portkey-custom-host', upstream],
    ],
  });
});

// With a budget, in memory.
export const litellm = () => kept('litellm', async () => {
  const [folder, upstream, port] = [await installed('litellm'), (await mock()).url, await freePort()];
  const args = ['--config', join(root, 'ops/bench/litellm.yaml'), '--host', HOST, '--port', String(port),
    '--num_workers', '1', '--telemetry', 'False'];
  return started('LiteLLM', join(folder, 'bin/litellm'), args, {
    port,
    cwd: folder,
    env: {
      ...process.env,
      BENCH_UPSTREAM: upstream,
      BENCH_KEY: KEY,
      LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY: 'true',
      LITELLM_LOCAL_MODEL_COST_MAP: 'True',
      LITELLM_MODE: 'PRODUCTION',
      LITELLM_LOG: 'ERROR',
    },
    headers: [['authorization', `Bearer ${KEY}`]],
  });
});
