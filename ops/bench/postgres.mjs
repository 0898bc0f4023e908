// PostgreSQL with the same ledger: each debit is one call of a function, one transaction and one synchronous commit.
// Its own load generator, pgbench, runs where ours does.
import { cpSync, chmodSync, chownSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { HOT_CONNECTIONS, root, settings } from './settings.mjs';
import { folder, onServerCore, runToEnd, scratch, start } from './stage.mjs';

// PostgreSQL refuses to be run by root; then it is run by the account that owns nothing.
const NOBODY_ID = 65534;
const isRoot = process.getuid() === 0;
const READY_TRIES = 100;
const READY_WAIT_MS = 100;

const SCHEMA = `
  CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 50);
  CREATE TABLE entries (seq bigserial PRIMARY KEY, operation uuid NOT NULL UNIQUE, account int NOT NULL,
    amount bigint NOT NULL, balance bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
  CREATE FUNCTION debit(which int) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE left_over bigint;
    BEGIN
      UPDATE account SET balance = balance - 1 WHERE id = which AND balance >= 1 RETURNING balance INTO left_over;
      INSERT INTO entries (operation, account, amount, balance) VALUES (gen_random_uuid(), which, 1, left_over);
      RETURN left_over;
    END $$;`;

// A running server, or `{missing: why}`.
export async function startPostgres() {
  let programs;
  try {
    programs = (await runToEnd(join(root, 'ops/bench/postgres.sh'), [])).trim();
  } catch (error) {
    return { missing: error.message.split('\n')[0] };
  }
  const home = folder('postgres');
  if (isRoot) {
    // The user's cache may be closed to others.
    cpSync(programs, join(home, 'programs'), { recursive: true });
    programs = join(home, 'programs');
    chmodSync(scratch, 0o711);
    chownSync(home, NOBODY_ID, NOBODY_ID);
  }
  const bin = (name) => join(programs, 'pgserver/pginstall/bin', name);
  const data = join(home, 'data');
  try {
    await runToEnd(...asUser(bin('initdb'), ['-D', data, '-A', 'trust', '-U', 'bench', '--no-sync']), { cwd: home });
    const port = await freePort();
    const options = ['-D', data, '-p', String(port), '-k', home, '-c', 'listen_addresses=127.0.0.1',
      '-c', 'max_connections=100', '-c', 'shared_buffers=256MB', '-c', 'synchronous_commit=on'];
    start(...onServerCore(...asUser(bin('postgres'), options)), { cwd: home });
    const server = { bin, connection: ['-h', '127.0.0.1', '-p', String(port), '-U', 'bench'] };
    await ready(server);
    await sql(server, SCHEMA);
    server.version = (await sql(server, 'SHOW server_version')).trim();
    return server;
  } catch (error) {
    return { missing: error.message.split('\n')[0] };
  }
}

// The command line as the user that may run the server, which ends with us in any case. SIGTERM would wait for
// clients; SIGQUIT does not, and takes all its processes.
function asUser(command, args) {
  const who = isRoot ? ['--reuid', String(NOBODY_ID), '--regid', String(NOBODY_ID), '--clear-groups'] : [];
  return ['setpriv', [...who, '--pdeathsig', 'QUIT', '--', command, ...args]];
}

const sql = (server, text) =>
  runToEnd(server.bin('psql'), [...server.connection, '-d', 'postgres', '-qAt', '-v', 'ON_ERROR_STOP=1', '-c', text]);

async function ready(server) {
  for (let tries = 0; tries < READY_TRIES; tries += 1) {
    try { return await sql(server, 'SELECT 1'); } catch { /* not yet */ }
    await new Promise((done) => { setTimeout(done, READY_WAIT_MS); });
  }
  throw new Error('PostgreSQL did not answer');
}

async function freePort() {
  const probe = createServer();
  await new Promise((done) => { probe.listen(0, '127.0.0.1', done); });
  const { port } = probe.address();
  await new Promise((done) => { probe.close(done); });
  return port;
}

// Debits on one hot row: a row of its own for each round, because dead versions of the old one would slow it down.
export async function postgresDebits(server, round) {
  await sql(server, `INSERT INTO account VALUES (${round}, 1000000000)`);
  const logs = folder(`pgbench-${round}`);
  const script = join(logs, 'debit.sql');
  writeFileSync(script, `SELECT debit(${round});\n`);
  const bench = (more) => runToEnd(server.bin('pgbench'), [...server.connection, '-n', '-M', 'prepared',
    '-c', String(HOT_CONNECTIONS), '-j', '1', '-f', script, ...more, 'postgres']);
  const processed = (output) => Number(/transactions actually processed: (\d+)/.exec(output)[1]);
  const warm = processed(await bench(['-t', '20']));
  const seconds = Math.max(1, Math.round(settings.secondsEach));
  const output = await bench(['-T', String(seconds), '-l', '--log-prefix', join(logs, 'log')]);
  const acknowledged = warm + processed(output);
  const counted = await sql(server, `SELECT (SELECT count(*) FROM entries WHERE account = ${round}) || ' ' ||
    (SELECT 1000000000 - balance FROM account WHERE id = ${round})`);
  const [rows, spent] = counted.trim().split(' ').map(Number);
  const times = readTimes(logs);
  rmSync(logs, { recursive: true, force: true });
  return {
    per_second: Number(/^tps = ([\d.]+)/m.exec(output)[1]),
    p50_ms: times[Math.floor(times.length * 0.5)],
    p99_ms: times[Math.floor(times.length * 0.99)],
    acknowledged,
    check: { ok: rows === acknowledged && spent === acknowledged, text: `${rows} rows, ${acknowledged} acknowledged` },
  };
}

// The time of each transaction in milliseconds, sorted; the third column, in microseconds.
function readTimes(logs) {
  const lines = readdirSync(logs).filter((name) => name.startsWith('log'))
    .flatMap((name) => readFileSync(join(logs, name), 'utf8').trim().split('\n'));
  return lines.map((line) => Number(line.split(' ')[2]) / 1000).sort((a, b) => a - b);
}
