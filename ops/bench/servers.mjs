// The servers of a run, each started when a scenario first needs it and kept until the end: an idle one costs nothing.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { settings } from './settings.mjs';
import { asServer, folder, startService } from './stage.mjs';

export const ADMIN_KEY = randomBytes(24).toString('hex');
export const SIGNING_KEY = generateKeyPairSync('rsa', { modulusLength: 2048 })
  .privateKey.export({ type: 'pkcs8', format: 'pem' });

const once = new Map();
export const kept = (name, make) => {
  if (!once.has(name)) once.set(name, make());
  return once.get(name);
};

const addressOf = (url) => new URL(url).host;

// The provider behind every ask.
export const mock = () => kept('mock', async () => {
  const { address, child } = await startService('the mock provider', settings.load, ['mock']);
  return { name: 'mock provider', address, url: `http://${address}/v1`, pid: child.pid };
});

// Guest tokens without any limit, so that as many can be made as a benchmark asks for.
const UNLIMITED_GUESTS = { GUEST_TOKENS_PER_MINUTE: '0', GUEST_TOKENS_PER_DAY: '0' };

// The product: the release bundle as `make dev` and the tests run it.
export const product = (requestsPerMinute) => started(`product-${requestsPerMinute}`, requestsPerMinute, UNLIMITED_GUESTS);

// The same where the model costs nothing.
export const productForFree = () =>
  started('product-for-free', 0, { ...UNLIMITED_GUESTS, CREDIT_PER_1K: '0', MODEL_PRICES: '{"gpt-4o-mini":0}' });

// The same with the limits of guest tokens that it has when nothing is set.
export const productWithGuestLimits = () => started('product-guest-limits', 0, {});

const started = (name, requestsPerMinute, more) => kept(name, async () => {
  const storage = folder(name);
  const upstream = (await mock()).url;
  const vars = join(storage, 'vars.json');
  writeFileSync(vars, JSON.stringify({
    IDENTITY_MODE: 'verified',
    PRIVATE_KEY_PEM: SIGNING_KEY,
    ADMIN_API_KEY: ADMIN_KEY,
    PREFERRED_PROVIDER: 'openai',
    OPENAI_BASE: upstream,
    OPENAI_API_KEY: 'sk-benchmark',
    CREDIT_PER_1K: '0.05',
    DEFAULT_MAX_TOKENS: '512',
    GUEST_GRANT_CREDITS: '0',
    // A stream of the benchmarks has more chunks than answers in development have tokens.
    MAX_OUTPUT_TOKENS: '8192',
    ...more,
    REQUESTS_PER_MINUTE: String(requestsPerMinute),
    // The whole budget may be used at once, so that one who did is refused for most of a minute.
    PLANS: JSON.stringify({
      free: { in_flight: 500, ...(requestsPerMinute > 0 && { requests_burst: requestsPerMinute }) },
    }),
    DEFAULT_PLAN: 'free',
    ...settings.productVars,
  }));
  const bundle = settings.bundle ? ['--main', settings.bundle] : [];
  const args = ['ops/dev/serve.mjs', '--persist', join(storage, 'state'), '--vars', vars, ...bundle];
  const { url, workerd_pid: pid } = await startService('the product', process.execPath, args);
  asServer(pid);
  return { name: 'product', url, address: addressOf(url), pid };
});

// The JavaScript Workers to compare with: those of `baselines/`, by the names of their files.
export async function baseline(name) {
  const { urls, workerd_pid: pid } = await kept('baselines', async () => {
    const args = ['ops/bench/baselines/serve.mjs', '--persist', folder('baselines'), '--upstream', (await mock()).url];
    const served = await startService('the baselines', process.execPath, args);
    asServer(served.workerd_pid);
    return served;
  });
  return { name: `JavaScript ${name}`, url: urls[name], address: addressOf(urls[name]), pid };
}

export async function getJson(url, headers = {}) {
  const reply = await fetch(url, { headers });
  if (!reply.ok) throw new Error(`${url}: ${reply.status} ${await reply.text()}`);
  return reply.json();
}
