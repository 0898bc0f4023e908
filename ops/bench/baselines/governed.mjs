// The whole of a metered ask, as one would write it in JavaScript for this runtime: RS256 token verified by WebCrypto
// for each request with a key imported once, credit reserved in the tenant's object, the provider asked, the charge
// settled with its ledger entry and its usage row. Commands that arrive together share a commit. Left out are the
// things that make a product of it: idempotency, budgets, fallback, deadlines, CORS, logs, distrust of the provider.
//
//   GET  /token/NAME   a token for the tenant NAME
//   POST /ask          {input} with that token
//   POST /v1/chat/completions   the same of a body in OpenAI's format, whose answer goes back as it came
//   GET  /books/NAME   {rows, usage, spent, held}, for the check afterwards
//   GET  /hello        the least a request can cost here
import { DurableObject } from 'cloudflare:workers';
import { GroupCommit } from './group-commit.mjs';

const OPENING_MICRO = 1_000_000_000_000;
const HOLD_MICRO = 50_000;
const MICRO_PER_TOKEN = 50;
const CHARGE_STEP_MICRO = 1_000;
const HOLD_TTL_MS = 60_000;
const RS256 = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const toBase64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
const fromBase64 = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')),
  (character) => character.charCodeAt(0));

let keys;
async function keyPair() {
  keys ??= await crypto.subtle.generateKey(
    { ...RS256, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }, true, ['sign', 'verify']);
  return keys;
}

export class Account extends DurableObject {
  #sql; #group;

  constructor(context, env) {
    super(context, env);
    this.#sql = context.storage.sql;
    this.#group = new GroupCommit(context.storage);
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, available INTEGER NOT NULL, held INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS holds (id TEXT PRIMARY KEY, amount INTEGER NOT NULL, charged INTEGER,
        deadline_ms INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS entries (seq INTEGER PRIMARY KEY, operation TEXT NOT NULL, amount INTEGER NOT NULL,
        available INTEGER NOT NULL, at_ms INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS usage (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at_ms INTEGER NOT NULL,
        tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, cost INTEGER NOT NULL, meta TEXT NOT NULL);
      INSERT OR IGNORE INTO account VALUES (1, ${OPENING_MICRO}, 0);`);
  }

  reserve(id) {
    return this.#group.run(() => {
      const { available } = this.#sql.exec('SELECT available FROM account WHERE id = 1').one();
      if (available < HOLD_MICRO) return false;
      this.#sql.exec('UPDATE account SET available = available - ?1, held = held + ?1 WHERE id = 1', HOLD_MICRO);
      this.#sql.exec('INSERT INTO holds (id, amount, deadline_ms) VALUES (?, ?, ?)',
        id, HOLD_MICRO, Date.now() + HOLD_TTL_MS);
      return true;
    });
  }

  settle(id, { tokensIn, tokensOut, charge, meta }) {
    return this.#group.run(() => {
      const [hold] = this.#sql.exec('SELECT amount FROM holds WHERE id = ? AND charged IS NULL', id);
      if (!hold) return undefined;
      const now = Date.now();
      const { available } = this.#sql.exec(`UPDATE account SET available = available + ?1, held = held - ?2
        WHERE id = 1 RETURNING available`, hold.amount - charge, hold.amount).one();
      this.#sql.exec('UPDATE holds SET charged = ? WHERE id = ?', charge, id);
      this.#sql.exec('INSERT INTO entries (operation, amount, available, at_ms) VALUES (?, ?, ?, ?)',
        id, -charge, available, now);
      this.#sql.exec('INSERT INTO usage (id, at_ms, tokens_in, tokens_out, cost, meta) VALUES (?, ?, ?, ?, ?, ?)',
        id, now, tokensIn, tokensOut, charge, meta);
      return available;
    });
  }

  books() {
    const { available, held } = this.#sql.exec('SELECT available, held FROM account').one();
    const { rows } = this.#sql.exec('SELECT COUNT(*) AS rows FROM entries').one();
    const { usage } = this.#sql.exec('SELECT COUNT(*) AS usage FROM usage').one();
    return { rows, usage, spent_micro: OPENING_MICRO - available - held, held_micro: held };
  }
}

async function sign(name) {
  const part = (value) => toBase64(encoder.encode(JSON.stringify(value)));
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const signed = `${part({ alg: 'RS256', typ: 'JWT', kid: 'k1' })}.${part({ sub: name, exp })}`;
  const signature = await crypto.subtle.sign(RS256, (await keyPair()).privateKey, encoder.encode(signed));
  return `${signed}.${toBase64(signature)}`;
}

async function verify(authorization) {
  const [head, claims, signature] = (authorization ?? '').slice('Bearer '.length).split('.');
  const { sub, exp } = JSON.parse(decoder.decode(fromBase64(claims)));
  const { alg } = JSON.parse(decoder.decode(fromBase64(head)));
  if (alg !== 'RS256' || exp * 1000 < Date.now()) return undefined;
  const { publicKey } = await keyPair();
  const good = await crypto.subtle.verify(RS256, publicKey, fromBase64(signature), encoder.encode(`${head}.${claims}`));
  return good ? sub : undefined;
}

// `chat` makes of a request's body what the provider is asked; `reply` makes of its answer what goes back.
async function metered(request, env, { chat, reply }) {
  const tenant = await verify(request.headers.get('authorization'));
  if (!tenant) return Response.json({ error: 'token_invalid' }, { status: 401 });
  const body = chat(await request.json());
  const account = env.ACCOUNT.getByName(tenant);
  const id = crypto.randomUUID();
  if (!await account.reserve(id)) return Response.json({ error: 'insufficient_credits' }, { status: 402 });
  const answer = await fetch(`${env.UPSTREAM}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer sk-benchmark' },
    body: JSON.stringify(body),
  });
  const whole = await answer.json();
  const { usage, model } = whole;
  const tokensIn = usage.prompt_tokens;
  const tokensOut = usage.completion_tokens;
  const charge = Math.round((tokensIn + tokensOut) * MICRO_PER_TOKEN / CHARGE_STEP_MICRO) * CHARGE_STEP_MICRO;
  const meta = JSON.stringify({ provider: 'openai', model });
  const available = await account.settle(id, { tokensIn, tokensOut, charge, meta });
  return Response.json(reply(whole), {
    headers: {
      'x-model': model, 'x-tokens-in': `${tokensIn}`, 'x-tokens-out': `${tokensOut}`,
      'x-credits-used': (charge / 1e6).toFixed(3), 'x-credits-balance': (available / 1e6).toFixed(3),
    },
  });
}

const ASK = {
  chat: ({ input }) => ({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: input }], max_tokens: 512 }),
  reply: ({ choices }) => ({ result: { content: choices[0].message.content } }),
};
const CHAT = { chat: (body) => body, reply: (whole) => whole };

export default {
  async fetch(request, env) {
    const [, operation, name] = new URL(request.url).pathname.split('/');
    switch (operation) {
      case 'ask': return metered(request, env, ASK);
      case 'v1': return metered(request, env, CHAT);
      case 'token': return new Response(await sign(name));
      case 'books': return Response.json(await env.ACCOUNT.getByName(name).books());
      case 'hello': return new Response('hello');
      default: return new Response('unknown', { status: 404 });
    }
  },
};
