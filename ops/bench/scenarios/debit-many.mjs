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

async function undecidedBooks(emails, acknowledged) {
  const { url } = await baseline('around');
  let rows = 0;
  for (const email of emails) rows += (await getJson(`${url}/books/${email}`)).rows;
  return { ok: rows === acknowledged, text: `${rows} rows, ${acknowledged} acknowledged` };
}

export async function debitMany() {
  const ourServer = await product(0);
  const emails = names.map((name) => `${name}@bench.example`);
  await open(ourServer, emails);
  const acknowledged = { ours: 0, javascript: 0, undecided: 0 };
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
  // The same requests, the same rows read and written, and nothing decided.
  async function undecided() {
    const result = await sendLoad(await baseline('around'), { ...LOAD, requests: emails.map(debiting) });
    acknowledged.undecided += result.acknowledged;
    return result;
  }
  const against = (title, other, more) => ({ id: 'P5', title, other, of: 'per_second', ...more });
  const title = 'debit over 1,000 tenants, 32 connections';
  return {
    contenders: { ours, javascript, undecided },
    finalChecks: async () => ({
      ours: await booksOf(ourServer, emails, { operations: acknowledged.ours, credits: DEBIT_CREDITS }),
      javascript: await javascriptBooks(acknowledged.javascript),
      undecided: await undecidedBooks(emails, acknowledged.undecided),
    }),
    rows: [
      against(`${title} ÷ JavaScript`, 'javascript', { target: { least: 1 } }),
      against(`${title} ÷ JavaScript with the same rows and the same reply, deciding nothing`, 'undecided'),
      against('that JavaScript ÷ JavaScript', 'javascript', { ours: 'undecided' }),
    ],
  };
}
