// What a job's creation writes, with nothing of it decided: the request is read, one call goes to an object that has the
// product's own tables, and one transaction writes the rows that the product writes, but for that of the limits: the job, what it was asked, its
// event, its hold, the account. No token is verified, no price worked out, no budget or cap looked at, no message sent.
//
//   POST /enqueue/NAME   a job there; the first one makes the tables
//   GET  /books/NAME     {jobs, holds, held_micro}, for the check afterwards
import { DurableObject } from 'cloudflare:workers';
import { GroupCommit } from './group-commit.mjs';

const HOLD_MICRO = 27_000;
const OPENING_MICRO = 1_000_000_000_000;
const TTL_MS = 86_400_000;
const DELAY_MS = 2_592_000_000;
const REQUEST_ID = 'a0b1c2d3e4f5061728394a5b6c7d8e9f';
const PARTS = JSON.stringify([[1, HOLD_MICRO]]);
const GRANTS = JSON.stringify([{ id: 1, kind: 'paid', priority: 100, expires_at_ms: null, left_micro: 1, held_micro: 0 }]);
const OWNER = JSON.stringify({ request_id: REQUEST_ID, api_key: null, models: ['gpt-4o-mini'], route: '/api/jobs' });
const TERMS = JSON.stringify({
  amount: HOLD_MICRO, owner: JSON.parse(OWNER), tier: null, ttl_ms: TTL_MS, lease_ms: 30_000, attempts_max: 5,
  wait_first_ms: 2000, wait_max_ms: 300_000, final_errors: ['request_refused', 'skill_disabled', 'input_too_long'],
  result_ttl_ms: 604_800_000, schedule: null,
});

export class Jobs extends DurableObject {
  #sql; #group; #opened = false;

  constructor(context, env) {
    super(context, env);
    this.#sql = context.storage.sql;
    this.#group = new GroupCommit(context.storage);
  }

  enqueue(call) {
    return this.#group.run(() => {
      if (!this.#opened) this.#open();
      this.#opened = true;
      return this.#make(JSON.parse(call));
    });
  }

  #open() {
    const found = this.#sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'jobs' LIMIT 1").toArray();
    if (found.length > 0) return;
    this.#sql.exec(this.env.SCHEMA);
    this.#sql.exec('INSERT INTO account VALUES (1, ?, 0, ?, 0, 0, 1, ?, ?, ?)', OPENING_MICRO, OPENING_MICRO, Date.now(), GRANTS, REQUEST_ID);
  }

  #make({ id, params }) {
    const now = Date.now();
    const due = now + DELAY_MS;
    const { seq } = this.#sql.exec('SELECT COALESCE(MAX(seq), 0) + 1 AS seq FROM jobs').one();
    const life = JSON.stringify({ run_at_ms: due, attempts: 0, charged: 0 });
    this.#sql.exec('INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', seq, id, 'si', 'delayed', 5, due, 0, null,
      due + TTL_MS, null, now, now, TERMS, life);
    this.#sql.exec('INSERT INTO job_bodies VALUES (?, ?, NULL, NULL)', seq, JSON.stringify(params));
    this.#sql.exec('INSERT INTO job_events VALUES (?, ?, ?, 0, 0)', seq, now,
      JSON.stringify({ job: id, type: 'si', status: 'queued', event: null, attempt: 0, run_at_ms: due }));
    this.#sql.exec('INSERT INTO holds VALUES (?, ?, ?, 0, 0, ?, ?, NULL, NULL, ?, ?, NULL, NULL)', id, 'open', HOLD_MICRO, PARTS, OWNER,
      now, due + TTL_MS);
    this.#sql.exec(`UPDATE account SET available_micro = available_micro - ?, held_micro = held_micro + ?,
      holds_open = holds_open + 1, updated_at_ms = ?`, HOLD_MICRO, HOLD_MICRO, now);
    return JSON.stringify({
      job: {
        id, email: 'jobs@bench.example', type: 'si', status: 'queued', priority: 5, attempts: 0, attempts_max: 5,
        created_at: new Date(now).toISOString(), updated_at: new Date(now).toISOString(),
        expires_at: new Date(due + TTL_MS).toISOString(), run_at: new Date(due).toISOString(), params,
      },
    });
  }

  books() {
    return this.#sql.exec(`SELECT (SELECT COUNT(*) FROM jobs) AS jobs, holds_open AS holds, held_micro FROM account`).one();
  }
}

export default {
  async fetch(request, env) {
    const [, operation, name] = new URL(request.url).pathname.split('/');
    const stub = env.JOBS.getByName(name);
    if (operation === 'books') return Response.json(await stub.books());
    const { params } = JSON.parse(await request.text());
    const body = await stub.enqueue(JSON.stringify({ id: crypto.randomUUID(), params }));
    return new Response(body, { headers: { 'content-type': 'application/json; charset=utf-8' } });
  },
};
