// P12 and P2: what a guest's token costs, what its first use costs and what every later one does, against JavaScript that
// signs, or verifies, and does nothing else. Neither side looks at an account.
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { HOT_CONNECTIONS, WARMUP_REQUESTS } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { SIGNING_KEY, baseline, getJson, product } from '../servers.mjs';

const LOAD = { connections: HOT_CONNECTIONS, order: 'cycle', warmup_requests: WARMUP_REQUESTS };
// An isolate remembers 2,048 verified tokens and forgets the oldest first (`VERIFIED_TOKENS_MAX`): of twice as many, taken
// in turn, each is new whenever it comes.
const NEW_TOKENS = 4_096;
// A guest may keep no keys: who calls is found out, and then this is the answer, before any actor is asked.
const IDENTIFIED = { path: '/api/keys', expected: 403 };

const part = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
const using = (token, path) => ({ method: 'GET', path, headers: [['authorization', `Bearer ${token}`]] });

// Guests' tokens as the product itself would make them, each of another guest.
async function guestTokens(server, count) {
  const reply = await fetch(`${server.url}/auth/guest`, { method: 'POST' });
  if (!reply.ok) throw new Error(`no guest token: ${reply.status} ${await reply.text()}`);
  const { token } = await reply.json();
  const [header, claims] = token.split('.').slice(0, 2).map((text) => JSON.parse(Buffer.from(text, 'base64url')));
  const key = createPrivateKey(SIGNING_KEY);
  return Array.from({ length: count }, () => {
    const signed = `${part(header)}.${part({ ...claims, sub: `guest:${randomUUID()}` })}`;
    return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
  });
}

async function mint() {
  return sendLoad(await product(0), { ...LOAD, requests: [{ method: 'POST', path: '/auth/guest' }] });
}

async function signAlone() {
  return sendLoad(await baseline('auth'), { ...LOAD, requests: [{ method: 'POST', path: '/sign' }] });
}

const verified = (tokens) => async () => {
  const requests = tokens.map((token) => using(token, IDENTIFIED.path));
  return sendLoad(await product(0), { ...LOAD, requests, expected: IDENTIFIED.expected });
};

async function javascriptVerified() {
  const server = await baseline('auth');
  const { token } = await getJson(`${server.url}/token`);
  return sendLoad(server, { ...LOAD, requests: [using(token, '/auth')] });
}

export async function auth() {
  const tokens = await guestTokens(await product(0), NEW_TOKENS);
  const row = (id, title, ours, other, least) => ({ id, title, ours, other, of: 'per_second', target: { least } });
  return {
    contenders: {
      mint,
      'webcrypto sign': signAlone,
      'new token': verified(tokens),
      'known token': verified(tokens.slice(0, 1)),
      'javascript verified': javascriptVerified,
    },
    rows: [
      row('P12', 'guest token, 32 connections ÷ WebCrypto signature alone', 'mint', 'webcrypto sign', 0.8),
      row('P2', 'verified request, new token ÷ JavaScript RS256 verified request', 'new token', 'javascript verified', 1),
      row('P2', 'verified request, known token ÷ JavaScript RS256 verified request', 'known token', 'javascript verified', 2),
    ],
    notes: [],
  };
}
