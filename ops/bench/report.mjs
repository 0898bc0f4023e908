// From the figures of all runs to one table. Ratios are taken round by round, because a round's two runs had the same
// machine; the median of them is what counts, and their spread says how far to trust it.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const sorted = (numbers) => [...numbers].sort((a, b) => a - b);

export function median(numbers) {
  const list = sorted(numbers);
  const middle = Math.floor(list.length / 2);
  return list.length % 2 === 1 ? list[middle] : (list[middle - 1] + list[middle]) / 2;
}

// A steady rate that was not reached has a queue that only grows: its latencies then say how long the run was.
const RATE_HELD_LEAST = 0.9;
const fellBehind = ({ intended_per_second: intended, per_second: reached }) => reached < intended * RATE_HELD_LEAST;

// One row of the table out of the records of one scenario. With `less`, what a third contender has of the same figure is
// taken off both first: what is added to it is compared.
export function judge(row, records) {
  const { ours: our = 'ours', other, of, less, target, missing } = row;
  if (missing) return { ...row, met: 'not measured' };
  const by = (name) => records.filter(({ contender }) => contender === name);
  const beyond = (record, at) => ({ ...record, [of]: record[of] - by(less)[at][of] });
  const [mine, theirs] = [by(our), by(other)].map((list) => (less ? list.map(beyond) : list));
  const ratios = mine.map((record, at) => record[of] / theirs[at][of]);
  const failed = [...mine, ...theirs].find(({ check }) => check && !check.ok);
  const late = [...mine, ...theirs].find(fellBehind);
  const middle = (list, figure) => {
    const figures = list.map((one) => one[figure]);
    return figures.every((one) => Number.isFinite(one)) ? median(figures) : null;
  };
  const ratio = median(ratios);
  return {
    ...row,
    ours: middle(mine, of),
    baseline: middle(theirs, of),
    ratio,
    ratio_least: Math.min(...ratios),
    ratio_most: Math.max(...ratios),
    p50_ms: [middle(by(our), 'p50_ms'), middle(by(other), 'p50_ms')],
    p99_ms: [middle(by(our), 'p99_ms'), middle(by(other), 'p99_ms')],
    server_cpu_us: [middle(mine, 'server_cpu_us'), middle(theirs, 'server_cpu_us')],
    load_core_share: middle(mine, 'load_core_share'),
    checked: mine.some(({ check }) => check) ? !failed : null,
    met: failed ? `does not count: ${failed.check.text}` : verdict(target, ratio, late),
  };
}

function verdict(target, ratio, late) {
  if (late) return `does not count: ${Math.round(late.per_second)} of ${late.intended_per_second} a second reached`;
  if (!target) return '–';
  const met = target.least === undefined ? ratio <= target.most : ratio >= target.least;
  return `${met ? 'yes' : 'no'}${target.informative ? ' (informative)' : ''}`;
}

const figure = (value, of) => {
  if (value === null || value === undefined) return '–';
  if (of === 'per_second') return `${Math.round(value).toLocaleString('en')}/s`;
  if (of.endsWith('_us')) return `${value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en')} µs`;
  return `${value.toFixed(2)} ms`;
};
const small = (value) => (value === null || value === undefined ? '–' : value.toFixed(Math.abs(value) < 0.1 ? 3 : 2));
const wanted = (target) => {
  if (!target) return '–';
  const { least, most, shown = least ?? most } = target;
  return `${least === undefined ? '≤' : '≥'} ${shown}`;
};
const pair = (values, write) =>
  (values ? values.map((value) => (value === null ? '–' : write(value))).join(' / ') : '–');

const COLUMNS = [
  ['#', ({ id }) => id || '–'],
  ['Scenario', ({ title }) => title],
  ['Ours', ({ ours, of, missing }) => (missing ? '–' : figure(ours, of))],
  ['Baseline', ({ baseline, of }) => figure(baseline, of)],
  ['Ratio (least–most)', (row) => (row.ratio === undefined ? '–'
    : `${small(row.ratio)} (${small(row.ratio_least)}–${small(row.ratio_most)})`)],
  ['Target', ({ target }) => wanted(target)],
  ['Met', ({ met }) => met],
  ['Books', ({ checked }) => ({ true: 'exact', false: 'WRONG' }[checked] ?? '–')],
];
const DETAILS = [
  ['Scenario', ({ title }) => title],
  ['p50 ms, ours / baseline', ({ p50_ms: times }) => pair(times, small)],
  ['p99 ms', ({ p99_ms: times }) => pair(times, small)],
  ['Added ms, p50 / p99', ({ adds, p50_ms: p50, p99_ms: p99 }) => (
    adds ? pair([p50, p99].map(([ours, other]) => (ours === null || other === null ? null : ours - other)), small) : '–')],
  ['Server CPU µs each', ({ server_cpu_us: times }) => pair(times, (value) => String(Math.round(value)))],
  ['Core share of the load', ({ load_core_share: share }) => small(share)],
];

function markdown(columns, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [
    line(columns.map(([name]) => name)), line(columns.map(() => '---')),
    ...rows.map((row) => line(columns.map(([, cell]) => cell(row)))),
  ].join('\n');
}

function plain(columns, rows) {
  const cells = [columns.map(([name]) => name), ...rows.map((row) => columns.map(([, cell]) => String(cell(row))))];
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => row[at].length)));
  return cells.map((row) => row.map((cell, at) => cell.padEnd(widths[at])).join('  ').trimEnd()).join('\n');
}

// Writes what was found to `folder`: a JSON file with every figure, and the set's own file with the tables. Gives the text
// table.
export function publish(folder, { title, file }, run, scenarios) {
  const rows = scenarios.flatMap((scenario) => scenario.rows.map((row) => judge(row, scenario.records)));
  const notes = scenarios.flatMap((scenario) => scenario.notes ?? []);
  const loads = scenarios.flatMap(({ records }) => records.map((record) => record.load_average));
  const busy = `load average ${median(loads).toFixed(1)} (at most ${Math.max(...loads).toFixed(1)}); alone, 1 to 2`;
  const text = `# ${title}

Commit \`${run.commit}\`, ${run.date}, ${run.cores} cores, workerd ${run.workerd}; ${run.rounds} rounds of `
    + `${run.seconds_each} s; ${run.pinned}; ${busy}. How to read it: [README](README.md).

${markdown(COLUMNS, rows)}

${markdown(DETAILS, rows)}

${[...run.notes, ...notes].map((note) => `- ${note}`).join('\n')}
`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, file), text);
  const raw = scenarios.map(({ name, records }) => ({ name, records }));
  const everything = { ...run, notes: [...run.notes, ...notes], rows, raw };
  writeFileSync(join(folder, file.toLowerCase().replace('.md', '.json')), `${JSON.stringify(everything, null, 1)}\n`);
  return { text: `${plain(COLUMNS, rows)}\n\n${plain(DETAILS, rows)}`, rows, notes };
}
