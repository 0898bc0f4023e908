// Runs the baseline Workers on the same runtime in the same way as ops/dev/serve.mjs runs the product: one workerd,
// direct sockets, Durable Objects on disk.
//
//   serve.mjs --persist DIR --upstream URL
//
// Prints one line when it serves: {"ready":true,"workerd_pid":N,"urls":{"hello":…,"ledger":…}}, with each Worker's address.
// Ends on SIGTERM, SIGINT, SIGHUP and at the end of stdin; workerd never outlives it.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Miniflare, Log, LogLevel, convertV4MiniflareOptions } from 'miniflare';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../../..');
const HOST = '127.0.0.1';
const { values: args } = parseArgs({ options: { persist: { type: 'string' }, upstream: { type: 'string' } } });
const persist = resolve(args.persist);
const runDir = join(persist, 'run');
mkdirSync(runDir, { recursive: true });
const pidFile = join(runDir, 'workerd.pid');
process.env.TMPDIR = runDir;
process.env.MINIFLARE_WORKERD_PATH = join(root, 'ops/dev/workerd.sh');

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
function endOnSignals() {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.removeAllListeners(signal).on(signal, () => end(0));
}
process.stdin.on('end', () => end(0)).on('close', () => end(0)).on('error', () => end(0));
process.stdin.resume();
endOnSignals();

// The product's own date, so that both run on the same semantics.
const compatibilityDate = /^compatibility_date = "(.*)"$/m.exec(readFileSync(join(root, 'wrangler.toml'), 'utf8'))[1];
const SHARED = ['group-commit.mjs'];
const worker = (name, more) => ({
  name,
  compatibilityDate,
  modulesRoot: here,
  modules: [`${name}.mjs`, ...SHARED].map((file) => ({ type: 'ESModule', path: join(here, file) })),
  unsafeDirectSockets: [{ host: HOST, port: 0 }],
  ...more,
});
const onDisk = (className) => ({ className, useSQLite: true });
// The tables of the product's own Tenant actor, without their comments, as it makes them on first touch.
const SCHEMAS = ['tenant', 'credits', 'notices', 'keys', 'tickets'];
const tables = (names) => names.map((name) => readFileSync(join(root, 'actors', name, 'schema.sql'), 'utf8')).join('')
  .replaceAll(/^\s*--.*\n/gm, '');
const schema = tables(SCHEMAS);

const workers = [
  worker('hello'),
  worker('refusal'),
  worker('auth'),
  worker('ledger', { durableObjects: { LEDGER: onDisk('Ledger'), ONE_TABLE: onDisk('OneTable') } }),
  worker('around', { durableObjects: { TENANT: onDisk('Tenant') }, bindings: { SCHEMA: schema } }),
  // The same and those that come with a tenant's first job.
  worker('jobs', { durableObjects: { JOBS: onDisk('Jobs') }, bindings: { SCHEMA: tables([...SCHEMAS, 'jobs']) } }),
  worker('gateway', { bindings: { UPSTREAM: args.upstream } }),
  worker('governed', { durableObjects: { ACCOUNT: onDisk('Account') }, bindings: { UPSTREAM: args.upstream } }),
];

try {
  const require = createRequire(import.meta.url);
  miniflare = new Miniflare(convertV4MiniflareOptions({
    host: HOST,
    port: 0,
    cf: false,
    log: new Log(LogLevel.ERROR),
    logRequests: false,
    unsafeRuntimeEnv: {
      COGNOMEGA_WORKERD: createRequire(require.resolve('miniflare'))('workerd').default,
      COGNOMEGA_WORKERD_PID_FILE: pidFile,
    },
    resourcePersistencePath: persist,
    resourceTmpPath: runDir,
    workers,
  }));
  endOnSignals();
  await miniflare.ready;
  const urls = {};
  for (const { name } of workers) urls[name] = (await miniflare.unsafeGetDirectURL(name)).origin;
  const line = { ready: true, workerd_pid: Number(readFileSync(pidFile, 'utf8')), urls };
  process.stdout.write(`${JSON.stringify(line)}\n`);
} catch (error) {
  process.stderr.write(`baselines: ${error?.stack ?? error}\n`);
  await end(1);
}
