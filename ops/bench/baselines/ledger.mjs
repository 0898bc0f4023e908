// A ledger as small as JavaScript on this runtime can make it: no identity, no body, no limits, no log; the front
// door takes the path apart, one call by RPC goes to the object, and a debit is read, update, insert.
//
//   POST /debit/NAME   one transaction and one commit for each request
//   POST /group/NAME   concurrent debits share a commit
//   POST /touch/NAME   the first touch of an object with one table
//   GET  /books/NAME   {rows, balance}, for the check afterwards
import { DurableObject } from 'cloudflare:workers';
import { GroupCommit } from './group-commit.mjs';

const OPENING_BALANCE = 1_000_000_000;

export class Ledger extends DurableObject {
  #sql; #group;

  constructor(context, env) {
    super(context, env);
    this.#sql = context.storage.sql;
    this.#group = new GroupCommit(context.storage);
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS entries (seq INTEGER PRIMARY KEY, operation TEXT NOT NULL UNIQUE,
        amount INTEGER NOT NULL, balance INTEGER NOT NULL, at_ms INTEGER NOT NULL);
      INSERT OR IGNORE INTO account VALUES (1, ${OPENING_BALANCE});`);
  }

  #debit = () => {
    const { balance } = this.#sql.exec('SELECT balance FROM account WHERE id = 1').one();
    if (balance < 1) return { refused: true };
    this.#sql.exec('UPDATE account SET balance = ? WHERE id = 1', balance - 1);
    this.#sql.exec('INSERT INTO entries (operation, amount, balance, at_ms) VALUES (?, 1, ?, ?)',
      crypto.randomUUID(), balance - 1, Date.now());
    return { balance: balance - 1 };
  };

  debit() { return this.ctx.storage.transactionSync(this.#debit); }

  group() { return this.#group.run(this.#debit); }

  books() {
    const { rows } = this.#sql.exec('SELECT COUNT(*) AS rows FROM entries').one();
    const { balance } = this.#sql.exec('SELECT balance FROM account WHERE id = 1').one();
    return { rows, spent: OPENING_BALANCE - balance };
  }
}

// What a new tenant costs at least: one table, one row.
export class OneTable extends DurableObject {
  constructor(context, env) {
    super(context, env);
    context.storage.sql.exec('CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)');
  }

  touch() {
    return this.ctx.storage.sql.exec(`INSERT INTO account VALUES (1, 1)
      ON CONFLICT (id) DO UPDATE SET balance = balance + 1 RETURNING balance`).one();
  }
}

export default {
  async fetch(request, env) {
    const [, operation, name] = new URL(request.url).pathname.split('/');
    if (operation === 'touch') return Response.json(await env.ONE_TABLE.getByName(name).touch());
    const ledger = env.LEDGER.getByName(name);
    switch (operation) {
      case 'debit': return Response.json(await ledger.debit());
      case 'group': return Response.json(await ledger.group());
      case 'books': return Response.json(await ledger.books());
      default: return new Response('unknown', { status: 404 });
    }
  },
};
