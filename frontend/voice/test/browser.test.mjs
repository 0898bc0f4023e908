// The library in a real Chromium, as a page has it: built by tsc, under a strict policy of content, with a microphone that
// beeps and a loudspeaker, against the rules on SQLite.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const executablePath = process.env.COGNOMEGA_CHROMIUM;
const folder = mkdtempSync(join(tmpdir(), 'cognomega-voice-'));
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
];

let server;
let origin;
let pages;
let context;
let page;

before(async () => {
  if (!executablePath) return;
  const project = fileURLToPath(new URL('..', import.meta.url));
  const tsc = process.env.TSC ?? fileURLToPath(new URL('../../../node_modules/.bin/tsc', import.meta.url));
  const built = spawnSync(tsc, ['-p', project, '--outDir', join(folder, 'dist')], { encoding: 'utf8' });
  assert.equal(built.status, 0, built.stdout);
  server = spawn(process.env.VOICE_SERVER, ['8000'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: server.stdout }), 'line');
  ({ origin } = JSON.parse(line));
  pages = createServer((request, response) => {
    const policy = `default-src 'self'; connect-src 'self' ${origin.replace('http', 'ws')}`;
    const isScript = request.url.endsWith('.js');
    response.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'text/html', 'content-security-policy': policy });
    response.end(isScript ? readFileSync(join(folder, 'dist', request.url.split('/').at(-1))) : '<!doctype html><title>talk</title>');
  });
  pages.listen(0, '127.0.0.1');
  await once(pages, 'listening');
  const { chromium } = await import('playwright-core');
  context = await chromium.launchPersistentContext(join(folder, 'profile'), { executablePath, headless: true, args: FLAGS });
  page = await context.newPage();
});

after(async () => {
  await context?.close();
  pages?.close().closeAllConnections();
  server?.stdin.end();
  rmSync(folder, { recursive: true, force: true });
});

const json = async (path, method = 'GET') => (await fetch(origin + path, { method })).json();

test('a page talks: what its microphone hears is understood, cut off and answered aloud', { skip: !executablePath && 'COGNOMEGA_CHROMIUM names no browser', timeout: 90_000 }, async () => {
  const refused = [];
  page.on('console', (message) => { if (message.type() === 'error') refused.push(message.text()); });
  await page.goto(`http://localhost:${pages.address().port}/`);
  const opened = await json('/api/voice/sessions', 'POST');
  await page.evaluate(async ([opened, base]) => {
    const { Conversation, VoiceSession } = await import('/index.js');
    const session = new VoiceSession(opened, { base, waits: { firstMs: 20, maxMs: 100 } });
    const at = { events: [], samples: 0, statuses: [], played: {} };
    const played = session.played.bind(session);
    session.played = (turn, samples) => { at.played[turn] = samples; played(turn, samples); };
    session.on('status', (status) => at.statuses.push(status));
    session.on('turn', (event) => at.events.push(event));
    session.on('transcript', (event) => at.events.push(event));
    session.on('interrupted', (event) => at.events.push({ type: 'interrupted', ...event }));
    session.on('over', (over) => { at.over = over; });
    session.on('audio', ({ frame }) => { at.samples += frame.samples.length; });
    Object.assign(globalThis, { at, session });
    globalThis.conversation = await Conversation.begin(session, '/microphone-worklet.js');
  }, [opened, origin]);
  const is = (turn, state) => page.waitForFunction(
    ([turn, state]) => globalThis.at.events.some((event) => event.turn === turn && event.state === state), [turn, state]);
  await page.waitForFunction(() => globalThis.at.statuses.includes('live'));
  await page.waitForTimeout(1_000);
  await page.evaluate(() => {
    globalThis.conversation.mute(true);
    globalThis.session.commit('one');
  });
  await page.waitForFunction(() => globalThis.at.samples > 0);
  await json(`/api/voice/sessions/${opened.session}/kill`, 'POST');
  await is('one', 'done');
  const [turn] = await json(`/api/voice/sessions/${opened.session}/turns`);
  assert.match(turn.user_text, /^said [0-9a-f]{12}$/);
  const { statuses } = await page.evaluate(() => globalThis.at);
  assert.ok(statuses.includes('away') && statuses.at(-1) === 'live', statuses.join());

  // It is played in its own time, and interrupted at some point of that.
  await page.evaluate(() => globalThis.session.say('Say more of 0123456789ab', 'two'));
  await is('two', 'speaking');
  await page.waitForFunction(() => globalThis.at.events.some((event) => event.turn === 'two' && event.state === 'done'));
  // A second of it, whenever the sound of the one before is over.
  await page.waitForFunction(() => globalThis.at.played.two >= 24_000);
  await page.evaluate(() => globalThis.conversation.interrupt());
  await page.waitForFunction(() => globalThis.at.events.some((event) => event.type === 'interrupted'));
  const turns = await json(`/api/voice/sessions/${opened.session}/turns`);
  assert.deepEqual(turns.map((one) => one.state), ['done', 'interrupted']);
  assert.ok(turns[1].heard.length > 0, 'some of it was heard');
  await page.evaluate(() => globalThis.conversation.stop());
  await page.waitForFunction(() => globalThis.session.status === 'over');
  assert.deepEqual(refused, [], 'the policy refused nothing');
});
