// Makes and rotates the keys of a deployment: ops/keys/README.md has the steps.
//
//   keys.mjs new --out FOLDER [--kid NAME] (--jwks FILE-OR-URL | --first)
//   keys.mjs retire KID --jwks FILE-OR-URL [--out FOLDER]
//   keys.mjs admin
//
// new     a signing key: FOLDER/<kid>.pem, for PRIVATE_KEY_PEM, which holds its name too, and FOLDER/jwks.json, for KV:
//         the keys of --jwks, what is published now, and the new one; --first says that there are none yet
// retire  FOLDER/jwks.json without the key KID
// admin   prints a key for ADMIN_API_KEY; nothing is written
//
// FOLDER is never inside a git repository. Nothing is sent anywhere; only --jwks with a URL reads from the network.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const RSA = {
  name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256',
};
const ADMIN_KEY_BYTES = 32;
// As the Worker reads names and sets: src/platform/config/signing.rs, src/edge/limits.rs.
const KID = /^[A-Za-z0-9._-]{1,64}$/;
const KEYS_MAX = 16;
const FETCH_TIMEOUT_MS = 10_000;

class Stopped extends Error {}
function stop(what, cure) {
  throw new Stopped(`stopped: ${what}\n   cure: ${cure}`);
}
const say = (line) => process.stdout.write(`${line}\n`);

// A secret in a work tree is one `git add .` away from everybody.
function safeFolder(out) {
  if (!out) stop('--out is missing', 'name a folder outside of every repository, such as --out $HOME/cognomega-keys');
  const folder = resolve(out);
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, '.git'))) stop(`${folder} is inside the repository ${at}`, 'name a folder outside of it');
    if (at === dirname(at)) break;
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

// Anything but 200 is no key set, whatever its body says: a set that lacks a key would end that key.
async function served(url) {
  const reply = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS), redirect: 'error' });
  const text = await reply.text();
  if (reply.status !== 200) throw new Error(`it answers with status ${reply.status}`);
  return text;
}

async function published(source) {
  if (!source) return [];
  let text;
  try {
    text = /^https?:\/\//.test(source) ? await served(source) : readFileSync(source, 'utf8');
  } catch (error) {
    stop(`${source} cannot be read: ${error.message}`, 'give the file, or https://<your API>/.well-known/jwks.json');
  }
  let keys;
  try { keys = JSON.parse(text).keys; } catch { /* said below */ }
  if (!Array.isArray(keys)) stop(`${source} holds no key set`, 'it must be JSON, {"keys":[…]}');
  return keys.map(publicMembers);
}

// Whatever a set holds, only what is public goes on.
const publicMembers = ({ kty, n, e, kid }) => ({ kty, use: 'sig', alg: 'RS256', kid, n, e });

function pem(der) {
  const lines = Buffer.from(der).toString('base64').match(/.{1,64}/g);
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`;
}

// A new file, for its owner only; an older one is never written over.
function write(file, text) {
  try { writeFileSync(file, text, { mode: 0o600, flag: 'wx' }); } catch (error) {
    if (error.code === 'EEXIST') stop(`${file} is there already`, 'give another --kid, or another folder');
    throw error;
  }
}

const writeSet = (folder, keys) => {
  const file = join(folder, 'jwks.json');
  writeFileSync(file, `${JSON.stringify({ keys })}\n`, { mode: 0o644 });
  return file;
};

async function makeNew({ out, kid: named, jwks, first }) {
  if (!jwks && !first) stop('which keys are published now?', 'give --jwks https://<your API>/.well-known/jwks.json, or --first when there are none');
  const folder = safeFolder(out);
  const kid = named ?? `k${new Date().toISOString().slice(0, 10).replaceAll('-', '')}-${crypto.randomUUID().slice(0, 4)}`;
  if (!KID.test(kid)) stop(`'${kid}' is no name for a key`, 'give 1 to 64 letters, digits, `.`, `_` or `-`');
  const before = await published(jwks);
  if (before.some((key) => key.kid === kid)) stop(`a key '${kid}' is published already`, 'give another --kid');
  if (before.length >= KEYS_MAX) stop(`${KEYS_MAX} keys are published, which is the limit`, 'retire those whose tokens have ended');
  const pair = await crypto.subtle.generateKey(RSA, true, ['sign', 'verify']);
  const secret = join(folder, `${kid}.pem`);
  write(secret, `kid: ${kid}\n${pem(await crypto.subtle.exportKey('pkcs8', pair.privateKey))}`);
  const own = publicMembers({ ...await crypto.subtle.exportKey('jwk', pair.publicKey), kid });
  const set = writeSet(folder, [...before, own]);
  say(`made ${secret} (secret) and ${set} (public)

${first ? firstSteps(secret, set) : nextSteps(kid, secret, set)}`);
}

const nextSteps = (kid, secret, set) => `  1. publish    wrangler kv key put --binding KEYS --remote jwks --path ${set}
  2. wait       six minutes, until /.well-known/jwks.json has '${kid}' and every isolate has read it
  3. switch     wrangler secret put PRIVATE_KEY_PEM < ${secret}
  4. look       /ready says "kid":"${kid}", and ops/probes/probe.sh passes
  5. forget     shred -u ${secret}
  6. retire the old key when its longest token has ended, a week at most: keys.mjs retire KID`;

const firstSteps = (secret, set) => `  1. sign       wrangler secret put PRIVATE_KEY_PEM < ${secret}
  2. publish    wrangler kv key put --binding KEYS --remote jwks --path ${set}
  3. forget     shred -u ${secret}`;

async function retire(kid, { out, jwks }) {
  if (!kid || !jwks) stop('which key, and from what?', 'keys.mjs retire KID --jwks https://<your API>/.well-known/jwks.json --out FOLDER');
  const before = await published(jwks);
  const rest = before.filter((key) => key.kid !== kid);
  if (rest.length === before.length) stop(`no key '${kid}' is published`, `one of: ${before.map((key) => key.kid).join(', ') || 'none'}`);
  const set = writeSet(safeFolder(out), rest);
  say(`made ${set} (public) without '${kid}'

  publish       wrangler kv key put --binding KEYS --remote jwks --path ${set}
  Six minutes later no token of '${kid}' opens anything.`);
}

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { out: { type: 'string' }, kid: { type: 'string' }, jwks: { type: 'string' }, first: { type: 'boolean', default: false } },
  });
  const [command, ...rest] = positionals;
  if (command === 'new' && rest.length === 0) await makeNew(values);
  else if (command === 'retire' && rest.length <= 1) await retire(rest[0], values);
  else if (command === 'admin' && rest.length === 0) say(Buffer.from(crypto.getRandomValues(new Uint8Array(ADMIN_KEY_BYTES))).toString('hex'));
  else stop('there is no such command', 'keys.mjs new, retire or admin; see the head of the file');
} catch (error) {
  const known = error instanceof Stopped || error.code?.startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`${known ? error.message : error.stack}\n`);
  process.exitCode = 1;
}
