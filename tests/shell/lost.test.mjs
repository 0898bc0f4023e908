// The release bundle when its memory breaks in the middle of a request: the reply has what every reply has, and the log
// its line. The break is planted in what Rust asks of the shell, since no request of the product can bring one about.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const BUNDLE = new URL('../../build/index.js', import.meta.url);
const source = (text) => ({ format: 'module', source: text, shortCircuit: true });
registerHooks({
  resolve(name, context, next) {
    if (name === 'cloudflare:workers') return { url: 'stand-in:workers', shortCircuit: true };
    return next(name, context);
  },
  load(url, context, next) {
    if (url === 'stand-in:workers') {
      return source(`export class DurableObject {}; export class WorkerEntrypoint {};
        export const env = {}; export const waitUntil = () => {};`);
    }
    // The runtime gives the bundle its compiled module.
    if (url.endsWith('.wasm')) {
      return source(`import { readFileSync } from 'node:fs';
        export default new WebAssembly.Module(readFileSync(${JSON.stringify(fileURLToPath(url))}));`);
    }
    return next(url, context);
  },
});
globalThis.addEventListener ??= () => {};
const { default: handlers } = await import(BUNDLE);

const ORIGIN = 'https://app.cognomega.com';
const env = { ENVIRONMENT: 'development', ALLOWED_ORIGINS: ORIGIN, KEYS: { get() {}, getWithMetadata() {}, put() {}, list() {}, delete() {} } };
const { settle } = globalThis.cognomega;

function ask(path, headers = {}, method = 'GET') {
  const request = new Request(`http://bundle.test${path}`, { method, headers });
  return handlers.fetch(request, env, { waitUntil() {} });
}

// The lines of the log while `work` is done, and what it gives.
async function logged(context, work) {
  const lines = [];
  const mock = context.mock.method(console, 'log', (line) => { lines.push(JSON.parse(line)); });
  const value = await work();
  mock.mock.restore();
  return { value, lines };
}

// The key set waits for KV: there the memory breaks.
async function broken(context, path, headers, method) {
  globalThis.cognomega.settle = () => { throw new WebAssembly.RuntimeError('planted'); };
  try { return await logged(context, () => ask(path, headers, method)); } finally { globalThis.cognomega.settle = settle; }
}

test('who is lost gets a whole reply with the id of the platform, and a line in the log', async (context) => {
  const path = '/.well-known/jwks.json';
  for (const [headers, method, allowed] of [
    [{ origin: ORIGIN, 'cf-ray': '8f1c2d3e4f5a6b7c-FRA' }, 'GET', ORIGIN],
    [{ origin: 'https://evil.io', 'cf-ray': '8f1c2d3e4f5a6b7d-FRA' }, 'GET', null],
    [{ 'cf-ray': '8f1c2d3e4f5a6b7e-FRA' }, 'HEAD', null],
  ]) {
    const { value: reply, lines } = await broken(context, path, headers, method);
    const text = await reply.text();
    assert.equal(reply.status, 503);
    if (method === 'HEAD') assert.equal(text, '');
    else assert.deepEqual([JSON.parse(text).error, JSON.parse(text).request_id], ['unavailable', headers['cf-ray']]);
    assert.equal(reply.headers.get('x-request-id'), headers['cf-ray']);
    assert.equal(reply.headers.get('retry-after'), '1');
    assert.equal(reply.headers.get('content-type'), 'application/json; charset=utf-8');
    assert.equal(reply.headers.get('access-control-allow-origin'), allowed);
    assert.equal(reply.headers.get('access-control-allow-credentials'), 'true');
    assert.match(reply.headers.get('vary'), /^Origin,/);
    const line = lines.find(({ event }) => event === 'request');
    assert.deepEqual(
      [line?.request_id, line?.route, line?.method, line?.status, line?.error],
      [headers['cf-ray'], path, method, 503, 'unavailable'],
    );
    const next = await logged(context, () => ask('/healthz'));
    assert.equal(next.value.status, 200, 'the next request has a memory of its own');
  }
});

test('without an id of the platform it has one of ours', async (context) => {
  const { value: reply, lines } = await broken(context, '/.well-known/jwks.json');
  const { request_id: id } = await reply.json();
  assert.match(id, /^[0-9a-f-]{36}$/);
  assert.equal(reply.headers.get('x-request-id'), id);
  assert.equal(lines.find(({ event }) => event === 'request')?.request_id, id);
});
