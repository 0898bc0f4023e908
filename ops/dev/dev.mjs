// `make dev`: the whole product on this machine, with a real model behind it. Started after the build.
//
//   PORT=8787            where it serves
//   COGNOMEGA_NO_LLM=1   without the local model; then only providers with a key in .dev.vars answer
//
// Keeps its data in .cognomega/ and its secrets in .dev.vars; both are ignored by git. Ctrl-C ends everything.
import { spawn, spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseEnv } from 'node:util';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const stateDir = join(root, '.cognomega');
const secretsFile = join(root, '.dev.vars');
const port = Number(process.env.PORT || 8787);
const withModel = process.env.COGNOMEGA_NO_LLM !== '1';

const say = (line) => process.stdout.write(`${line}\n`);
const children = new Set();
let ending = false;

async function end(code) {
  if (ending) return;
  ending = true;
  for (const child of children) child.kill('SIGTERM');
  const timer = setTimeout(() => { for (const child of children) child.kill('SIGKILL'); }, 4000);
  await Promise.all([...children].map((child) => child.gone));
  clearTimeout(timer);
  process.exit(code);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => end(0));
process.stdout.on('error', () => end(0));

class Stopped extends Error {}
function stop(what, cure) {
  throw new Stopped(`stopped: ${what}\n   cure: ${cure}`);
}

// Starts a program of ours and waits for its line of JSON. It holds the other end of the pipe on its stdin, and so
// ends with us even when we are killed. Its own process group keeps the terminal's Ctrl-C away from it: we end it.
async function start(name, script, args) {
  const child = spawn(process.execPath, [join(root, script), ...args], {
    cwd: root, stdio: ['pipe', 'pipe', 'inherit'], detached: true,
  });
  children.add(child);
  child.gone = new Promise((done) => child.once('exit', (code, signal) => {
    children.delete(child);
    if (!ending && child.ready) process.stderr.write(`${name} ended by itself (${signal ?? code})\n`);
    if (child.ready) end(1);
    done();
  }));
  const line = await Promise.race([
    new Promise((got) => createInterface({ input: child.stdout }).once('line', got)),
    child.gone,
  ]);
  if (line === undefined) {
    if (ending) return new Promise(() => {});
    stop(`${name} did not start`, 'read the lines above');
  }
  child.ready = true;
  return JSON.parse(line);
}

// Adds what is missing and keeps what is there.
function readSecrets() {
  const text = existsSync(secretsFile) ? readFileSync(secretsFile, 'utf8') : '';
  const secrets = parseEnv(text);
  const added = {};
  if (!secrets.PRIVATE_KEY_PEM) {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    added.PRIVATE_KEY_PEM = privateKey.export({ type: 'pkcs8', format: 'pem' });
  }
  if (!secrets.ADMIN_API_KEY) added.ADMIN_API_KEY = randomBytes(32).toString('hex');
  const lines = Object.entries(added).map(([name, value]) => `${name}="${value.replaceAll('\n', '\\n')}"\n`);
  if (lines.length > 0) {
    if (text === '') writeFileSync(secretsFile, '# Secrets of local runs; never committed.\n', { mode: 0o600 });
    appendFileSync(secretsFile, (text === '' || text.endsWith('\n') ? '' : '\n') + lines.join(''));
    say(`wrote ${Object.keys(added).join(' and ')} to .dev.vars`);
  }
  chmodSync(secretsFile, 0o600);
  return { ...secrets, ...added };
}

function checkPort() {
  if (!Number.isInteger(port) || port < 1 || port > 65535) stop(`PORT is '${process.env.PORT}'`, 'use a number from 1 to 65535');
  return new Promise((free, taken) => {
    const probe = createServer();
    probe.once('error', () => taken(new Stopped(
      `stopped: port ${port} is taken\n   cure: end what serves there, or choose another: PORT=${port + 1} make dev`)));
    probe.listen(port, '127.0.0.1', () => probe.close(free));
  });
}

async function waitUntilReady(url) {
  let last = 'no answer';
  let stopped;
  for (let attempt = 0; attempt < 100 && !ending && !stopped; attempt += 1) {
    try {
      const response = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(5000) });
      if (response.ok) return;
      last = `${response.status}`;
      // What the Worker says of its configuration will not change by asking again.
      const { problems } = await response.json();
      if (problems?.length) stopped = problems;
    } catch (error) { last = error.message; }
    if (!stopped) await new Promise((done) => setTimeout(done, 100));
  }
  if (stopped) {
    const lines = stopped.map(({ variable, cure }) => `   ${variable}: ${cure}`);
    throw new Stopped(`stopped: the configuration (.dev.vars, wrangler.toml) is not one to serve with\n${lines.join('\n')}`);
  }
  if (!ending) stop(`${url}/ready does not say ready (${last})`, 'read the lines above');
}

async function main() {
  if (!existsSync(join(root, 'build/index.js'))) stop('the Worker is not built', 'make dev (or make build)');
  await checkPort();
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const url = `http://127.0.0.1:${port}`;
  const vars = { ...readSecrets(), ISSUER: url };

  const serveArgs = ['--port', String(port), '--persist', join(stateDir, 'storage'), '--vars', join(stateDir, 'vars.json')];
  if (withModel) {
    const set_up = spawnSync('bash', [join(root, 'ops/setup/llm.sh')], { stdio: ['ignore', 'inherit', 'inherit'] });
    if (set_up.status !== 0) stop('the local model is not installed', 'read the lines above, or run COGNOMEGA_NO_LLM=1 make dev');
    const engine = await start('the local model', 'ops/engines/llm/server.mjs', []);
    vars.LOCAL_BASE = engine.url;
    serveArgs.push('--engine-url', engine.url);
  } else {
    // Neither the local provider nor the stand-in of Workers AI has an engine then.
    vars.LOCAL_BASE = null;
    vars.PREFERRED_PROVIDER = 'groq,openai';
  }
  writeFileSync(join(stateDir, 'vars.json'), JSON.stringify(vars), { mode: 0o600 });
  chmodSync(join(stateDir, 'vars.json'), 0o600);
  const server = await start('the Worker', 'ops/dev/serve.mjs', serveArgs);
  await waitUntilReady(url);

  const keys = ['GROQ_API_KEY', 'OPENAI_API_KEY'].filter((name) => vars[name]);
  const answers = [...keys.map((name) => name.split('_')[0].toLowerCase()), ...(withModel ? ['the model on this machine'] : [])];
  say(`
Cognomega serves on ${url}   (Ctrl-C ends it)
  answers come from: ${answers.join(', then ') || 'nobody: put a provider key into .dev.vars'}

Try it in another terminal, in this folder:

  API=${url}
  ADMIN=$(sed -n 's/^ADMIN_API_KEY=//p' .dev.vars | tr -d \\"\\')
  # a guest token
  curl -s -X POST $API/auth/guest
  # credits for a user, and the balance
  curl -s $API/api/credits/adjust -H "X-Admin-Key: $ADMIN" -H 'Content-Type: application/json' -d '{"email":"you@example.com","delta":5}'
  curl -s $API/api/credits -H 'X-User-Email: you@example.com'
  # ask: the whole answer, then as it is made
  curl -s $API/api/si/ask -H 'X-User-Email: you@example.com' -H 'Content-Type: application/json' -d '{"input":"Why is the sky blue?"}'
  curl -N $API/api/si/ask -H 'X-User-Email: you@example.com' -H 'Content-Type: application/json' -H 'Accept: text/event-stream' -d '{"input":"Tell me a short story."}'
  # what was used
  curl -s $API/api/billing/usage -H 'X-User-Email: you@example.com'
  # run the cron handler once
  curl -s '${server.cron_url}'
`);
}

main().catch((error) => {
  if (!ending) process.stderr.write(`${error instanceof Stopped ? error.message : error.stack}\n`);
  end(1);
});
