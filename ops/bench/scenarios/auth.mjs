// P12 and P2: what a guest's token costs, what its first use costs and what every later one does, against JavaScript that
// signs, or verifies, and does nothing else. Neither side looks at an account. And at one connection, what knowing the
// caller adds to the latency of a request that says nothing of who it is.
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { HOT_CONNECTIONS, WARMUP_REQUESTS, settings } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { SIGNING_KEY, baseline, getJson, product, productWithGuestLimits } from '../servers.mjs';

const ALONE = { connections: 1, order: 'cycle', warmup_requests: WARMUP_REQUESTS };
const LOAD = { connections: HOT_CONNECTIONS, order: 'cycle', warmup_requests: WARMUP_REQUESTS };
// An isolate remembers 2,048 verified tokens and forgets the oldest first (`VERIFIED_TOKENS_MAX`): of twice as many, taken
// in turn, each is new whenever it comes.
const NEW_TOKENS = 4_096;
// A guest may keep no keys: who calls is found out, and then this is the answer, before any actor is asked.
const IDENTIFIED = { path: '/api/keys', expected: 403 };

// The same where nothing says who calls.
const ANONYMOUS = { path: '/api/keys', expected: 400 };
// Guest tokens of one round with the limits on. Of the 10,000 that all addresses together get at once there is room for
// every round of a run, twice: from new addresses, and from such as were there before.
const GUESTS_ALL = 9_000;
const GUESTS_OF_A_ROUND = Math.min(300, Math.floor(GUESTS_ALL / 2 / (settings.rounds + 1)));
// How often each address of the second kind comes: far from the 15 that it gets at once.
const VISITS = 5;

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

const mint = (load) => async () =>
  sendLoad(await product(0), { ...load, requests: [{ method: 'POST', path: '/auth/guest' }] });

async function signAlone() {
  return sendLoad(await baseline('auth'), { ...LOAD, requests: [{ method: 'POST', path: '/sign' }] });
}

const verified = (tokens, load = LOAD) => async () => {
  const requests = tokens.map((token) => using(token, IDENTIFIED.path));
  return sendLoad(await product(0), { ...load, requests, expected: IDENTIFIED.expected });
};

async function anonymous() {
  const requests = [{ method: 'GET', path: ANONYMOUS.path }];
  return sendLoad(await product(0), { ...ALONE, requests, expected: ANONYMOUS.expected });
}

let visitors = 0;
function visitor() {
  visitors += 1;
  const address = `10.${(visitors >> 16) & 255}.${(visitors >> 8) & 255}.${visitors & 255}`;
  return { method: 'POST', path: '/auth/guest', headers: [['cf-connecting-ip', address]] };
}

const mintWithLimits = async (requests, warmup) => sendLoad(await productWithGuestLimits(), {
  ...ALONE, order: 'once', warmup_requests: warmup, seconds: 600, requests,
});

// Each from an address that was never seen: the actor that counts for it is made for it.
const mintAtFirstVisits = () => mintWithLimits(Array.from({ length: GUESTS_OF_A_ROUND }, visitor), VISITS);

// Each from one whose actor is awake: the first visits are the warm-up.
function mintAtLaterVisits() {
  const all = Array.from({ length: Math.floor(GUESTS_OF_A_ROUND / VISITS) }, visitor);
  return mintWithLimits(Array.from({ length: VISITS }, () => all).flat(), all.length);
}

async function javascriptVerified() {
  const server = await baseline('auth');
  const { token } = await getJson(`${server.url}/token`);
  return sendLoad(server, { ...LOAD, requests: [using(token, '/auth')] });
}

export async function auth() {
  const tokens = await guestTokens(await product(0), NEW_TOKENS);
  const row = (id, title, ours, other, least) => ({ id, title, ours, other, of: 'per_second', target: { least } });
  const added = (title, ours) => ['p50_ms', 'p99_ms'].map((of) => ({
    id: 'P2', title: `${title}, ${of.slice(0, 3)} ÷ request without authentication`, ours, other: 'anonymous, alone', of,
    adds: true,
  }));
  return {
    contenders: {
      mint: mint(LOAD),
      'webcrypto sign': signAlone,
      'new token': verified(tokens),
      'known token': verified(tokens.slice(0, 1)),
      'javascript verified': javascriptVerified,
      'anonymous, alone': anonymous,
      'known token, alone': verified(tokens.slice(0, 1), ALONE),
      'new token, alone': verified(tokens, ALONE),
      'mint, alone': mint(ALONE),
      'mint, first visit': mintAtFirstVisits,
      'mint, later visit': mintAtLaterVisits,
    },
    rows: [
      row('P12', 'guest token, 32 connections ÷ WebCrypto signature alone', 'mint', 'webcrypto sign', 0.8),
      row('P2', 'verified request, new token ÷ JavaScript RS256 verified request', 'new token', 'javascript verified', 1),
      row('P2', 'verified request, known token ÷ JavaScript RS256 verified request', 'known token', 'javascript verified', 2),
      ...added('one connection: token verified before', 'known token, alone'),
      ...added('one connection: token verified for the first time', 'new token, alone'),
      ...added('one connection: guest token, default limits, address seen before', 'mint, later visit'),
      ...added('one connection: guest token, default limits, new address', 'mint, first visit'),
      ...added('one connection: guest token, without limits', 'mint, alone'),
    ],
    notes: [
      'What authentication adds at one connection is in the column of what is added: ours less the same request without '
      + 'authentication, which is refused where the others know their caller.',
    ],
  };
}
