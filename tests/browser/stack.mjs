// What the tests in a real browser need: the release bundle on workerd, a provider that streams, pages on origins that
// are allowed and that are not, and a headless Chromium with an empty profile.
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const HOST = '127.0.0.1';
export const PIECES = ['One', ' piece', ' after', ' the', ' other.'];
export const GAP_MS = 120;
const TIMEOUT_MS = 10_000;
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function listening(server) {
  server.listen(0, HOST);
  await once(server, 'listening');
  return server.address().port;
}

// A provider with an OpenAI form; `calls` counts what reached it.
function makeProvider() {
  const provider = { calls: 0 };
  provider.server = createServer(async (request, response) => {
    provider.calls += 1;
    let body = '';
    for await (const chunk of request) body += chunk;
    const usage = { prompt_tokens: 20, completion_tokens: 5, total_tokens: 25 };
    if (JSON.parse(body).stream !== true) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ model: 'm', choices: [{ message: { content: PIECES.join('') } }], usage }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const send = (data) => response.write(`data: ${JSON.stringify({ model: 'm', ...data })}\n\n`);
    for (const content of PIECES) {
      send({ choices: [{ delta: { content } }] });
      await sleep(GAP_MS);
    }
    send({ choices: [{ delta: {}, finish_reason: 'stop' }], usage });
    response.end('data: [DONE]\n\n');
  });
  return provider;
}

// A page of its own origin; ?cookie=… has it set that cookie, as any server of the same host can.
const makePages = () => createServer((request, response) => {
  const cookie = new URL(request.url, 'http://x').searchParams.get('cookie');
  response.writeHead(200, { 'content-type': 'text/html', ...(cookie ? { 'set-cookie': cookie } : {}) });
  response.end('<!doctype html><title>page</title><body></body>');
});

async function startWorker(folder, vars) {
  const file = join(folder, 'vars.json');
  writeFileSync(file, JSON.stringify(vars), { mode: 0o600 });
  const worker = spawn(process.execPath, [
    'ops/dev/serve.mjs', '--port', '0', '--persist', join(folder, 'state'), '--vars', file,
  ], { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] });
  let log = '';
  const requests = [];
  createInterface({ input: worker.stderr }).on('line', (line) => {
    log = `${log}${line}\n`.slice(-20_000);
    const at = line.indexOf('{"event":"request"');
    if (at >= 0) requests.push(JSON.parse(line.slice(at)));
  });
  const gone = once(worker, 'exit');
  const line = await Promise.race([
    once(createInterface({ input: worker.stdout }), 'line'),
    gone.then(() => { throw new Error(`the stack did not start:\n${log}`); }),
  ]);
  return { api: JSON.parse(line[0]), requests, stop: async () => { worker.stdin.end(); await gone; } };
}

export async function startStack() {
  const folder = mkdtempSync(join(tmpdir(), 'cognomega-browser-'));
  const provider = makeProvider();
  const pages = [makePages(), makePages()];
  const [providerPort, ours, foreign] = await Promise.all([provider.server, ...pages].map(listening));
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const adminKey = randomBytes(32).toString('hex');
  const origins = { app: `http://localhost:${ours}`, sameSite: `http://localhost:${foreign}`, crossSite: `http://${HOST}:${foreign}` };
  const worker = await startWorker(folder, {
    ENVIRONMENT: 'development', IDENTITY_MODE: 'verified', ISSUER: 'https://api.cognomega.test',
    ALLOWED_ORIGINS: origins.app, PRIVATE_KEY_PEM: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    ADMIN_API_KEY: adminKey, PREFERRED_PROVIDER: 'local', LOCAL_BASE: `http://${HOST}:${providerPort}/v1`,
    GUEST_TOKENS_PER_MINUTE: '20', GUEST_GRANT_CREDITS: '1',
  });
  const end = async () => {
    await worker.stop();
    for (const server of [provider.server, ...pages]) server.close().closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  };
  let context;
  try {
    context = await chromium.launchPersistentContext(join(folder, 'profile'), {
      executablePath: process.env.COGNOMEGA_CHROMIUM || '/usr/bin/chromium', headless: true, args: FLAGS,
    });
  } catch (error) {
    await end();
    throw error;
  }
  context.setDefaultTimeout(TIMEOUT_MS);
  return {
    // The same site as the app, as api.example.com is to app.example.com.
    api: `http://localhost:${new URL(worker.api.url).port}`,
    adminKey, context, origins, provider,
    // What the Worker logged of each request, in their order.
    requests: worker.requests,
    async stop() {
      await context.close();
      await end();
    },
  };
}
