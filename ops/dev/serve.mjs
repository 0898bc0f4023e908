// Runs the built Worker on this machine in the real runtime (workerd), with the bindings of wrangler.toml and the
// storage in a folder. `make dev` and the tests start the product through this file only.
//
//   serve.mjs --persist DIR [--port N] [--env development] [--vars FILE] [--engine-url URL] [--main FILE]
//             [--beside FILE] [--keep-without-stdin]
//
// --persist     where Durable Objects, KV and R2 keep their data; one running server per folder
// --port        0 takes a free one
// --vars        JSON object laid over the vars, secrets included, KV namespaces and buckets; null takes one away
// --engine-url  chat-completions base (http://127.0.0.1:N/v1) behind the stand-in of Workers AI
// --main        another bundle than the one wrangler.toml names
// --beside      a second Worker of the same bundle on the same actors and storage, with the vars and this object over
//               them: what a rolling deployment is while both versions serve
//
// Prints one line on stdout when it serves:
//   {"ready":true,"url":"http://127.0.0.1:N","workerd_pid":N,"cron_url":"http://127.0.0.1:M/cdn-cgi/local/scheduled"}
// A GET of cron_url runs the cron handler once (?cron=*/5+*+*+*+*&time=MILLISECONDS) and answers with its outcome.
// Everything else, the Worker's logs first, goes to stderr. A runtime that crashes is started again on the same port
// and storage, and a line `restarted {"workerd_pid":N}` on stderr says so.
// With --beside the line also has "beside_url". A line {"kv":"KEYS","key":"jwks","value":"…"} on stdin writes to a KV
// namespace as an operator would; null deletes. It is answered with {"kv_written":"jwks"} on stdout. A line
// {"queue":"JOBS","message":"…"} sends a message to a queue, and is answered with {"queued":"JOBS"}. A line
// {"bucket":"R2_UPLOADS", …} with "list":PREFIX, "read":KEY, "delete":KEY, or "put":KEY with "base64", "content_type" and
// "metadata" looks into a bucket or changes it, and is answered with {"bucket":"R2_UPLOADS","objects":[…]}: each with
// its key, size, content type and metadata, and of one that was read its SHA-256.
// Ends on SIGTERM, SIGINT, SIGHUP and at the end of stdin; workerd never outlives it.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../..');
const configPath = join(root, 'wrangler.toml');
const HOST = '127.0.0.1';

function stop(message) {
  process.stderr.write(`serve: ${message}\n`);
  process.exit(1);
}

let args;
try {
  ({ values: args } = parseArgs({
    options: {
      env: { type: 'string', default: 'development' },
      persist: { type: 'string' },
      port: { type: 'string', default: '0' },
      vars: { type: 'string' },
      'engine-url': { type: 'string' },
      main: { type: 'string' },
      beside: { type: 'string' },
      'keep-without-stdin': { type: 'boolean', default: false },
    },
  }));
} catch (error) {
  stop(error.message);
}
const port = Number(args.port);
if (!args.persist) stop('--persist DIR is missing');
if (!Number.isInteger(port) || port < 0 || port > 65535) stop('--port must be 0 to 65535');

let miniflare;
let ending = false;
async function end(code) {
  if (ending) return;
  ending = true;
  setTimeout(() => process.exit(code), 3000).unref(); // workerd is killed with us in any case
  try { await miniflare?.dispose(); } catch { /* it is going anyway */ }
  rmSync(runDir, { recursive: true, force: true });
  process.exit(code);
}
// Called again when miniflare is made: its own handlers would leave before its runtime has gone.
function endOnSignals() {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.removeAllListeners(signal).on(signal, () => end(0));
}
if (!args['keep-without-stdin']) {
  process.stdin.on('end', () => end(0)).on('close', () => end(0)).on('error', () => end(0));
  process.stdin.resume();
}
// A log nobody reads any more must not end us.
process.stderr.on('error', () => {});
process.stdout.on('error', () => {});
// stdout carries the one line that a program reads.
console.log = console.info = console.debug = console.warn = console.error;

function readVars(option) {
  if (!args[option]) return {};
  let vars;
  try { vars = JSON.parse(readFileSync(args[option], 'utf8')); } catch (error) { stop(`--${option}: ${error.message}`); }
  if (vars === null || typeof vars !== 'object' || Array.isArray(vars)) stop(`--${option} must hold a JSON object`);
  return vars;
}
const overrides = readVars('vars');
const besideOverrides = readVars('beside');

// Temporary files live in the storage folder, so that whatever a killed server left is gone with the next start.
const persist = resolve(args.persist);
const runDir = join(persist, 'run');
const pidFile = join(runDir, 'workerd.pid');
const lockFile = join(runDir, 'serve.pid');
const workerdPid = () => Number(readFileSync(pidFile, 'utf8'));
if (existsSync(lockFile)) {
  const other = readFileSync(lockFile, 'utf8');
  const command = existsSync(`/proc/${other}/cmdline`) ? readFileSync(`/proc/${other}/cmdline`, 'utf8') : '';
  if (command.includes('serve.mjs')) stop(`${persist} is in use by process ${other}; end that one or take another --persist`);
}
rmSync(runDir, { recursive: true, force: true });
mkdirSync(runDir, { recursive: true });
writeFileSync(lockFile, String(process.pid));
process.env.TMPDIR = runDir;
endOnSignals();

const { name: workerName, main: configuredMain, options } = await readConfig(args.env);
const { Miniflare, Log, LogLevel, convertV4MiniflareOptions } = await import('miniflare');
const require = createRequire(import.meta.url);
const runtime = createRequire(require.resolve('miniflare'))('workerd').default;

// What wrangler makes of wrangler.toml. Loading wrangler takes longer than everything else here, so its answer is
// kept until the file or the tools change.
async function readConfig(env) {
  const hash = createHash('sha256').update(env);
  for (const file of [configPath, join(root, 'package-lock.json'), fileURLToPath(import.meta.url)]) {
    hash.update('\0').update(readFileSync(file));
  }
  const cacheDir = join(root, 'node_modules/.cache/cognomega');
  const cached = join(cacheDir, `config-${hash.digest('hex').slice(0, 32)}.json`);
  try { return JSON.parse(readFileSync(cached, 'utf8')); } catch { /* not there yet */ }
  process.env.WRANGLER_SEND_METRICS = 'false';
  // Its one warning is about [ai], which development replaces on purpose.
  process.env.WRANGLER_LOG ??= 'error';
  const wrangler = await import('wrangler');
  const config = wrangler.unstable_readConfig({ config: configPath, env: env || undefined });
  // No env files: a run is what wrangler.toml and --vars say, whatever secrets lie beside them.
  const { modulesRules: _, rootPath: __, ...workerOptions } =
    wrangler.unstable_getMiniflareWorkerOptions(config, env || undefined, { envFiles: [] }).workerOptions;
  const text = JSON.stringify({ name: config.name, main: relative(root, config.main), options: workerOptions });
  mkdirSync(cacheDir, { recursive: true });
  writeFileSync(`${cached}.${process.pid}`, text);
  renameSync(`${cached}.${process.pid}`, cached);
  return JSON.parse(text);
}

const main = resolve(args.main ?? join(root, configuredMain));
if (!existsSync(main)) stop(`there is no bundle at ${main}; run 'make build'`);
const bundle = dirname(main);
const modules = [
  { type: 'ESModule', path: main },
  ...readdirSync(bundle).filter((name) => name.endsWith('.wasm'))
    .map((name) => ({ type: 'CompiledWasm', path: join(bundle, name) })),
];

function laidOver(base, changes) {
  const bindings = { ...base };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete bindings[name]; else bindings[name] = value;
  }
  return bindings;
}
const bindings = laidOver(options.bindings, overrides);
// A var takes the place of a KV namespace or bucket of its name too: so the tests have one that cannot be read.
const notLaidOver = (resources) => Object.fromEntries(
  Object.entries(resources ?? {}).filter(([name]) => !(name in overrides)),
);
const kvNamespaces = notLaidOver(options.kvNamespaces);
const r2Buckets = notLaidOver(options.r2Buckets);
// The binding of Workers AI runs within the Worker; its stand-in is another one, to which a signal must cross.
const signalsCross = 'enable_abortsignal_rpc';
options.compatibilityFlags = [...(options.compatibilityFlags ?? []), signalsCross];
const besideName = `${workerName}-beside`;
// Actors live in the first Worker, as they live in one version of a deployment; so do the queue's messages.
const beside = args.beside && {
  ...options,
  name: besideName,
  modules,
  modulesRoot: bundle,
  bindings: laidOver(bindings, besideOverrides),
  durableObjects: Object.fromEntries(Object.entries(options.durableObjects ?? {}).map(([binding, actor]) => [
    binding, { ...(typeof actor === 'string' ? { className: actor } : actor), scriptName: workerName },
  ])),
  queueConsumers: undefined,
  unsafeDirectSockets: [{ host: HOST, port: 0 }],
};

process.env.MINIFLARE_WORKERD_PATH = join(here, 'workerd.sh');

// Worker output comes with terminal colours; only the text is of use here.
const plain = (text) => text.replace(/\u001b\[[0-9;]*m/g, '');
class StderrLog extends Log {
  log(message) { process.stderr.write(`${plain(message)}\n`); }
}

try {
  miniflare = new Miniflare(convertV4MiniflareOptions({
    host: HOST,
    port: 0,
    cf: false, // else it asks the network where it is
    log: new StderrLog(LogLevel.WARN),
    logRequests: false,
    handleStructuredLogs: ({ level, message }) => process.stderr.write(`[${level}] ${plain(message)}\n`),
    unsafeTriggerHandlers: true,
    unsafeRuntimeEnv: { COGNOMEGA_WORKERD: runtime, COGNOMEGA_WORKERD_PID_FILE: pidFile },
    unsafeHandleRuntimeRestart: () => {
      process.stderr.write(`restarted ${JSON.stringify({ workerd_pid: workerdPid() })}\n`);
    },
    resourcePersistencePath: persist,
    resourceTmpPath: runDir,
    workers: [
      {
        ...options,
        name: workerName,
        modules,
        modulesRoot: bundle,
        bindings,
        kvNamespaces,
        r2Buckets,
        // Straight to the Worker: the entry proxy of local development would buffer, compress and dress up errors.
        unsafeDirectSockets: [{ host: HOST, port }],
      },
      ...(beside ? [beside] : []),
      {
        name: 'cognomega-ai',
        modules: [{ type: 'ESModule', path: join(here, 'ai-worker.mjs') }],
        modulesRoot: here,
        compatibilityDate: options.compatibilityDate,
        compatibilityFlags: [signalsCross],
        bindings: args['engine-url'] ? { ENGINE_URL: args['engine-url'] } : {},
      },
    ],
  }));
  endOnSignals();
  const entry = await miniflare.ready;
  const url = await miniflare.unsafeGetDirectURL(workerName);
  process.stdout.write(`${JSON.stringify({
    ready: true,
    url: url.origin,
    ...(beside ? { beside_url: (await miniflare.unsafeGetDirectURL(besideName)).origin } : {}),
    workerd_pid: workerdPid(),
    cron_url: new URL('/cdn-cgi/local/scheduled', entry).href,
  })}\n`);
  if (!args['keep-without-stdin']) createInterface({ input: process.stdin }).on('line', obey);
} catch (error) {
  const taken = /address already in use/i.test(`${error?.message} ${error?.cause?.message ?? ''}`);
  process.stderr.write(`serve: ${taken ? `port ${port} is taken; choose another with --port` : error?.stack ?? error}\n`);
  await end(1);
}

// What an operator does with a bucket's objects; those that it is about.
async function inBucket(bucket, { list, read, put, base64, content_type: contentType, metadata, delete: gone }) {
  const shown = (object) => ({
    key: object.key,
    size: object.size,
    content_type: object.httpMetadata?.contentType,
    metadata: object.customMetadata,
  });
  if (list !== undefined) {
    const { objects } = await bucket.list({ prefix: list, include: ['httpMetadata', 'customMetadata'] });
    return objects.map(shown);
  }
  if (read !== undefined) {
    const object = await bucket.get(read);
    if (!object) return [];
    const sha256 = createHash('sha256').update(Buffer.from(await object.arrayBuffer())).digest('hex');
    return [{ ...shown(object), sha256 }];
  }
  if (put !== undefined) {
    const options = { httpMetadata: { contentType }, customMetadata: metadata };
    return [shown(await bucket.put(put, Buffer.from(base64, 'base64'), options))];
  }
  await bucket.delete(gone);
  return [];
}

async function obey(line) {
  try {
    const { kv, key, value, queue, message, bucket, ...asked } = JSON.parse(line);
    if (bucket) {
      const objects = await inBucket(await miniflare.getR2Bucket(bucket, workerName), asked);
      process.stdout.write(`${JSON.stringify({ bucket, objects })}\n`);
      return;
    }
    if (queue) {
      await (await miniflare.getQueueProducer(queue, workerName)).send(message);
      process.stdout.write(`${JSON.stringify({ queued: queue })}\n`);
      return;
    }
    const namespace = await miniflare.getKVNamespace(kv, workerName);
    if (value === null) await namespace.delete(key); else await namespace.put(key, value);
    process.stdout.write(`${JSON.stringify({ kv_written: key })}\n`);
  } catch (error) {
    process.stderr.write(`serve: the line on stdin was not obeyed: ${error.message}\n`);
  }
}
