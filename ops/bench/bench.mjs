// `make bench` and `make bench-peers`: every scenario of the set that is named, ours and its baselines in turn, and one
// table of ratios. README.md says how to read it.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { root, settings } from './settings.mjs';
import { endAll, pinned, storageIsMemory } from './stage.mjs';
import { publish } from './report.mjs';
import { ask } from './scenarios/ask.mjs';
import { auth } from './scenarios/auth.mjs';
import { chat } from './scenarios/chat.mjs';
import { debitHot } from './scenarios/debit-hot.mjs';
import { debitMany } from './scenarios/debit-many.mjs';
import { firstTouch } from './scenarios/first-touch.mjs';
import { flood } from './scenarios/flood.mjs';
import { jobs } from './scenarios/jobs.mjs';
import { passThrough } from './scenarios/pass-through.mjs';
import { refused } from './scenarios/refused.mjs';
import { steady } from './scenarios/steady.mjs';
import { stream } from './scenarios/stream.mjs';

const SETS = {
  money: {
    title: 'Results',
    file: 'RESULTS.md',
    scenarios: {
      'debit-hot': debitHot, 'debit-many': debitMany, ask, auth, refused, flood, 'first-touch': firstTouch,
      jobs,
    },
  },
  peers: {
    title: 'The gateway beside others',
    file: 'PEERS.md',
    scenarios: { 'pass-through': passThrough, chat, steady, stream },
  },
};
const set = SETS[process.argv[2] ?? 'money'];

let stopping = false;
async function stop(code) {
  if (stopping) return;
  stopping = true;
  await endAll();
  process.exit(code);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop(130));
process.stdout.on('error', () => stop(1));

const say = (line) => process.stdout.write(`${line}\n`);

function chosen() {
  if (!set) throw new Error(`name one of ${Object.keys(SETS).join(', ')}`);
  const known = Object.keys(set.scenarios);
  const names = settings.only.length > 0 ? settings.only : known;
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`ONLY knows ${known.join(', ')}; not ${unknown}`);
  return names;
}

// All rounds of one scenario. Every other round goes the other way round, so that neither side is always the first.
// Before them comes one that does not count: a fresh runtime is still compiling what it runs. Of `others`, what fails is
// told in its rows, and the rest goes on.
async function perform(name) {
  say(`\n${name}`);
  const scenario = await set.scenarios[name]();
  const records = [];
  const lost = {};
  for (let round = 0; round <= settings.rounds; round += 1) {
    const contenders = Object.entries(scenario.contenders).filter(([contender]) => !lost[contender]);
    if (round % 2 === 0) contenders.reverse();
    for (const [contender, run] of contenders) {
      let result;
      try {
        result = await run(round);
      } catch (error) {
        if (stopping || !scenario.others?.includes(contender)) throw error;
        lost[contender] = error.message;
        say(`  ${round} ${contender.padEnd(28)} left out: ${error.message}`);
        continue;
      }
      const record = { contender, round, ...result, load_average: loadavg()[0] };
      if (round > 0) records.push(record);
      const times = `p50 ${record.p50_ms.toFixed(2)} ms, p99 ${record.p99_ms.toFixed(2)} ms`;
      const books = record.check ? `; ${record.check.ok ? 'books agree' : 'BOOKS DISAGREE'}: ${record.check.text}` : '';
      say(`  ${round} ${contender.padEnd(28)} ${record.per_second.toFixed(0).padStart(7)}/s, ${times}${books}`);
    }
  }
  for (const [contender, check] of Object.entries(await scenario.finalChecks?.() ?? {})) {
    for (const record of records.filter((one) => one.contender === contender)) record.check = check;
    say(`  ${contender}: ${check.ok ? 'books agree' : 'BOOKS DISAGREE'}: ${check.text}`);
  }
  const rows = scenario.rows.map((row) => ({ ...row, missing: row.missing ?? lost[row.other] }));
  const leftOut = Object.entries(lost).map(([contender, why]) => `${name}: ${contender} was left out: ${why}`);
  return { name, records, rows, notes: [...scenario.notes ?? [], ...leftOut] };
}

function describeRun() {
  const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  const dirty = git('status', '--porcelain', '--untracked-files=no', '--', 'src', 'actors', 'Cargo.lock') !== '';
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return {
    commit: `${git('rev-parse', '--short=10', 'HEAD')}${dirty ? ' with changes' : ''}`,
    date: new Date().toISOString(),
    cores: settings.cores,
    workerd: lock.packages['node_modules/workerd']?.version ?? 'of the lock file',
    rounds: settings.rounds,
    seconds_each: settings.secondsEach,
    pinned,
    notes: storageIsMemory ? ['the storage is in memory, where a commit costs nothing: set SCRATCH_DIR to a disk'] : [],
  };
}

async function main() {
  if (!existsSync(settings.load)) throw new Error(`there is no ${settings.load}; run 'make bench'`);
  const run = describeRun();
  const names = chosen();
  say(`${names.join(', ')}: ${settings.rounds} rounds of ${settings.secondsEach} s each; ${run.pinned}`);
  const done = [];
  for (const name of names) done.push(await perform(name));
  const { text, rows, notes } = publish(settings.resultsDir, set, run, done);
  say(`\n${text}\n`);
  for (const note of [...run.notes, ...notes]) say(`- ${note}`);
  // The summary that is kept is one of all scenarios.
  const kept = join(root, 'ops/bench', set.file);
  if (settings.only.length === 0) copyFileSync(join(settings.resultsDir, set.file), kept);
  say(`\nwritten to ${settings.resultsDir}`);
  // A slow machine is no failure; money that went missing is.
  return rows.some(({ checked }) => checked === false) ? 1 : 0;
}

try {
  await stop(await main());
} catch (error) {
  if (!stopping) process.stderr.write(`bench: ${error.message}\n`);
  await stop(1);
}
