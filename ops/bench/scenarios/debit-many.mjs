// P5: debits over a thousand tenants, any of them each time. The warm-up touches each once, so that all are awake.
import { HOT_CONNECTIONS, TENANTS } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { baseline, getJson, product } from '../servers.mjs';
import { DEBIT_CREDITS, booksOf, debiting, open } from '../product.mjs';

const LOAD = { connections: HOT_CONNECTIONS, order: 'random', warmup_requests: TENANTS };
const names = Array.from({ length: TENANTS }, (_, n) => `many-${n}`);

async function javascriptBooks(acknowledged) {
  const { url } = await baseline('ledger');
  const sum = { rows: 0, spent: 0 };
  for (const name of names) {
    const books = await getJson(`${url}/books/${name}`);
    sum.rows += books.rows;
    sum.spent += books.spent;
  }
  const ok = sum.rows === acknowledged && sum.spent === acknowledged;
  return { ok, text: `${sum.rows} rows, ${acknowledged} acknowledged` };
}

export async function debitMany() {
  const ourServer = await product(0);
  const emails = names.map((name) => `${name}@bench.example`);
  await open(ourServer, emails);
  const acknowledged = { ours: 0, javascript: 0 };
  async function ours() {
    const result = await sendLoad(ourServer, { ...LOAD, requests: emails.map(debiting) });
    acknowledged.ours += result.acknowledged;
    return result;
  }
  async function javascript() {
    const requests = names.map((name) => ({ method: 'POST', path: `/debit/${name}` }));
    const result = await sendLoad(await baseline('ledger'), { ...LOAD, requests });
    acknowledged.javascript += result.acknowledged;
    return result;
  }
  return {
    contenders: { ours, javascript },
    finalChecks: async () => ({
      ours: await booksOf(ourServer, emails, { operations: acknowledged.ours, credits: DEBIT_CREDITS }),
      javascript: await javascriptBooks(acknowledged.javascript),
    }),
    rows: [{
      id: 'P5', title: 'debit over 1,000 tenants, 32 connections ÷ JavaScript', other: 'javascript', of: 'per_second',
      target: { least: 1 },
    }],
  };
}
