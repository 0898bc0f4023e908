// What surrounds a debit in the product, with nothing of it decided: the same request is read, one call with a text as
// long goes to an object that has the product's own tables, which reads the same rows and writes as many with about the
// same bytes in a transaction of the turn that follows; the same reply is written, the same line logged. What the product
// takes beyond this is its own.
//
//   POST /api/credits/adjust   {email}: a debit there; the first one for a name makes the tables
//   GET  /books/NAME           {rows}, for the check afterwards
import { DurableObject } from 'cloudflare:workers';
import { GroupCommit } from './group-commit.mjs';

const REQUEST_ID = 'a0b1c2d3e4f5061728394a5b6c7d8e9f';
const DIGEST = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08';
const INIT = JSON.stringify({
  status: 200,
  headers: {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': 'Content-Type, Content-Disposition, X-Request-Id, X-Credits-Used, X-Credits-Balance, '
      + 'X-Credits-Held, X-Tokens-In, X-Tokens-Out, X-Provider, X-Model, X-Intelligence-Tier, X-Identity-Source, '
      + 'Idempotency-Replayed, X-Cache, X-Variant, X-Feedback-Id, RateLimit, RateLimit-Policy, Retry-After',
    'x-request-id': REQUEST_ID,
  },
});

const SETTINGS = JSON.stringify({
  plan: null, limits: {}, keys: {}, caps: [], fingerprint_window_ms: 0, low_balance_micro: null, top_up: null, webhook: null,
});
const COUNTERS = JSON.stringify({ meters: {}, caps: [], low_told: false, top_ups: 0, set_at_ms: 0 });
const GRANTS = JSON.stringify([
  { id: 1, kind: 'paid', priority: 100, expires_at_ms: null, left_micro: 999_999_500_000, held_micro: 0 },
]);
const PARTS = JSON.stringify([[1, 1000]]);
// As the product reads them: one cell for a row.
const READ_ACCOUNT = `SELECT concat('[', available_micro, ',', held_micro, ',', granted_micro, ',', settled_micro, ',',
  holds_open, ',', next_seq, ',', updated_at_ms, ',', grants, ',"', head, '"]') FROM account`;
const READ_LIMITS = "SELECT concat(octet_length(settings), ' ', settings, counters) FROM limits";
const NEXT_SEQ = 5;

export class Tenant extends DurableObject {
  #sql; #group; #opened = false;

  constructor(context, env) {
    super(context, env);
    this.#sql = context.storage.sql;
    this.#group = new GroupCommit(context.storage);
  }

  command(call) {
    return this.#group.run(() => {
      if (!this.#opened) this.#open();
      this.#opened = true;
      return this.#debit(call.length);
    });
  }

  #open() {
    const found = this.#sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'actor' LIMIT 1").toArray();
    if (found.length > 0) return;
    this.#sql.exec(this.env.SCHEMA);
    this.#sql.exec('INSERT INTO actor VALUES (1, ?, ?, ?, NULL, 0)', 5, '{"email":"many-100@bench.example"}', Date.now());
    this.#sql.exec('INSERT INTO limits VALUES (1, ?, ?)', SETTINGS, COUNTERS);
    this.#sql.exec("INSERT INTO account VALUES (1, 0, 0, 0, 0, 0, 1, ?, '[]', ?)", Date.now(), DIGEST);
  }

  #debit(length) {
    const now = Date.now();
    const read = (query) => this.#sql.exec(query).raw().next().value[0];
    const seq = JSON.parse(read(READ_ACCOUNT))[NEXT_SEQ];
    this.#sql.exec('INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', seq, now, 'delta', -1000, 1000,
      0, 0, 999_999_500_000, 0, 0, `adjust-${REQUEST_ID}`, null, null, PARTS, null, DIGEST);
    this.#sql.exec(`UPDATE account SET available_micro = ?, held_micro = ?, granted_micro = ?, settled_micro = ?, holds_open = ?,
      next_seq = ?, updated_at_ms = ?, grants = ?, head = ?`, 999_999_500_000, 0, 999_999_500_000, 0, 0, seq + 1, now, GRANTS, DIGEST);
    const limits = read(READ_LIMITS);
    return `{"answer":{"Ok":{"adjusted":{"account":{"grants":${GRANTS},"head":"${DIGEST}","next_seq":${seq + 1},
      "updated_at_ms":${now}},"shortfall":0},"replayed":false,"lengths":[${length},${limits.length}]}}}`;
  }

  rows() { return this.#sql.exec('SELECT COUNT(*) AS rows FROM entries').one(); }
}

async function adjust(request, env) {
  const head = JSON.stringify([request.method, request.url, Object.fromEntries(request.headers)]);
  const { email } = JSON.parse(await request.text());
  const call = JSON.stringify({
    tenant: { email }, request_id: REQUEST_ID,
    command: { adjust: { operation: `adjust-${REQUEST_ID}`, adjustment: { delta: -1000 }, reason: null, reference: null } },
  });
  const answer = await env.TENANT.getByName(email).command(call);
  console.log(JSON.stringify({
    event: 'request', request_id: REQUEST_ID, method: request.method, route: '/api/credits/adjust', status: 200,
    duration_ms: head.length, actor: DIGEST.slice(0, 16), operator: true, admin_key: 'first',
  }));
  const body = JSON.stringify({
    email, balance: answer.length, updated_at: '2026-11-30T10:31:27.764Z', held: 0,
    grants: [{ id: 1, kind: 'paid', priority: 0, expires_at: null, left: 999_999.999, held: 0 }],
  });
  return new Response(body, JSON.parse(INIT));
}

export default {
  async fetch(request, env) {
    const [, operation, name] = new URL(request.url).pathname.split('/');
    if (operation === 'books') return Response.json(await env.TENANT.getByName(name).rows());
    return adjust(request, env);
  },
};
