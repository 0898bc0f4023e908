// P3 and P4: debits on one hot tenant over 32 connections. Each run has a tenant of its own, so that its ledger is that
// run's alone.
import { HOT_CONNECTIONS, WARMUP_REQUESTS } from '../settings.mjs';
import { folder } from '../stage.mjs';
import { sendLoad, sqliteDebits } from '../load.mjs';
import { baseline, getJson, product } from '../servers.mjs';
import { DEBIT_CREDITS, booksOf, debiting, open } from '../product.mjs';
import { postgresDebits, startPostgres } from '../postgres.mjs';

const LOAD = { connections: HOT_CONNECTIONS, order: 'cycle', warmup_requests: WARMUP_REQUESTS };

async function ours(round) {
  const server = await product(0);
  const email = `hot-${round}@bench.example`;
  await open(server, [email]);
  const result = await sendLoad(server, { ...LOAD, requests: [debiting(email)] });
  const operations = result.acknowledged;
  return { ...result, check: await booksOf(server, [email], { operations, credits: DEBIT_CREDITS }) };
}

const javascript = (operation) => async (round) => {
  const server = await baseline('ledger');
  const name = `${operation}-${round}`;
  const result = await sendLoad(server, { ...LOAD, requests: [{ method: 'POST', path: `/${operation}/${name}` }] });
  const { rows, spent } = await getJson(`${server.url}/books/${name}`);
  const ok = rows === result.acknowledged && spent === rows;
  return { ...result, check: { ok, text: `${rows} rows, ${result.acknowledged} acknowledged` } };
};

async function sqlite(round) {
  const result = await sqliteDebits(folder(`sqlite-${round}`));
  return { ...result, check: { ok: result.books_agree, text: `${result.acknowledged} acknowledged` } };
}

export async function debitHot() {
  const postgres = await startPostgres();
  const contenders = {
    ours,
    javascript: javascript('debit'),
    'javascript, group commit': javascript('group'),
    sqlite,
  };
  if (!postgres.missing) contenders.postgres = (round) => postgresDebits(postgres, round);
  const against = (id, title, other, target) => ({ id, title, other, target, of: 'per_second' });
  const title = 'debit, 1 hot tenant, 32 connections';
  return {
    contenders,
    rows: [
      against('P3', `${title} ÷ JavaScript, one commit each`, 'javascript', { least: 2.5 }),
      { ...against('P3', `${title} ÷ PostgreSQL, one hot row`, 'postgres', { least: 3 }), missing: postgres.missing },
      against('P4', `${title} ÷ SQLite alone, one synchronous commit each`, 'sqlite', { least: 1 }),
      against('', `${title} ÷ JavaScript, group commit`, 'javascript, group commit'),
      { ...against('', 'that JavaScript ÷ JavaScript, one commit each', 'javascript'), ours: 'javascript, group commit' },
      { ...against('', 'that JavaScript ÷ SQLite alone', 'sqlite'), ours: 'javascript, group commit' },
    ],
    notes: postgres.missing ? [`PostgreSQL was left out: ${postgres.missing}`] : [`PostgreSQL ${postgres.version}`],
  };
}
