// The library over real sockets, against the rules on SQLite: `VOICE_SERVER` is the program that has them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { VoiceSession } from '../src/index.ts';

const FRAME = 2_400;
let server;
let origin;

before(async () => {
  server = spawn(process.env.VOICE_SERVER, ['2000'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: server.stdout }), 'line');
  ({ origin } = JSON.parse(line));
});
after(() => server.stdin.end());

const json = async (path, method = 'GET') => (await fetch(origin + path, { method })).json();

async function open(waits = { firstMs: 20, maxMs: 100 }) {
  const opened = await json('/api/voice/sessions', 'POST');
  const sockets = [];
  // To be cut off as a cable is: what the library does not do itself.
  class Cut extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const session = new VoiceSession(opened, { base: origin, WebSocket: Cut, waits, random: () => 1 });
  const sound = new Map();
  const turns = [];
  const texts = [];
  session.on('audio', ({ turn, frame }) => sound.set(turn, [...(sound.get(turn) ?? []), frame.samples]));
  session.on('turn', ({ turn, state }) => turns.push(`${turn} ${state}`));
  session.on('transcript', ({ role, text, final }) => { if (final) texts.push(`${role}: ${text.trim()}`); });
  return { id: opened.session, session, sockets, sound, turns, texts };
}

const until = (session, name, holds) => new Promise((resolve) => {
  const end = session.on(name, (value) => {
    if (!holds(value)) return;
    end();
    resolve(value);
  });
});
const done = (session, turn) => until(session, 'turn', (event) => event.turn === turn && event.state === 'done');
const sha = (frames) => frames.reduce((hash, samples) => hash.update(new Uint8Array(samples.buffer)), createHash('sha256')).digest('hex');

function speak(session, turn) {
  for (let frame = 0; frame < 8; frame += 1) {
    session.speak(Int16Array.from({ length: FRAME }, (_, at) => (at * 37 + frame * 1_009) % 32_768));
  }
  session.commit(turn);
}

// What one undisturbed turn sounds like.
async function calm() {
  const { session, sound, texts } = await open();
  session.connect();
  const end = done(session, 'one');
  speak(session, 'one');
  await end;
  session.bye();
  await until(session, 'over', () => true);
  return { hash: sha(sound.get('one')), texts };
}

test('a turn is the same to the byte, however often the socket is lost in it', { timeout: 60_000 }, async () => {
  const known = await calm();
  const { id, session, sockets, sound, turns, texts } = await open();
  session.connect();
  let frames = 0;
  session.on('audio', () => {
    frames += 1;
    if (frames % 5 === 0) sockets.at(-1).close();
  });
  const end = done(session, 'one');
  speak(session, 'one');
  await end;
  assert.equal(sha(sound.get('one')), known.hash);
  assert.deepEqual(texts, known.texts);
  assert.ok(sockets.length > 2, `it was lost ${sockets.length} times`);
  assert.deepEqual(turns.filter((turn) => turn.endsWith('done')), ['one done']);
  assert.equal((await json(`/api/voice/sessions/${id}/turns`)).length, 1);
  session.bye();
});

test('a server that loses its memory is come back to', { timeout: 60_000 }, async () => {
  const known = await calm();
  const { id, session, sound } = await open();
  session.connect();
  const end = done(session, 'one');
  const speaks = until(session, 'audio', () => true);
  speak(session, 'one');
  await speaks;
  await fetch(`${origin}/api/voice/sessions/${id}/kill`, { method: 'POST' });
  await end;
  assert.equal(sha(sound.get('one')), known.hash);
  session.bye();
});

test('an interruption is heard, and the next turn is whole', { timeout: 60_000 }, async () => {
  const { session, sound } = await open();
  session.connect();
  const speaks = until(session, 'audio', () => true);
  speak(session, 'one');
  await speaks;
  const silent = until(session, 'interrupted', () => true);
  session.interrupt('one', 40);
  assert.equal((await silent).turn, 'one');
  const end = done(session, 'two');
  session.say('Once more: 0123456789ab', 'two');
  await end;
  assert.ok(sound.get('two').length > 10);
  session.bye();
  assert.deepEqual(await until(session, 'over', () => true), { ended: 'bye' });
});

test('who is away for too long is told that it expired', { timeout: 60_000 }, async () => {
  const { session, sockets } = await open({ firstMs: 3_000, maxMs: 3_000 });
  const live = until(session, 'status', (status) => status === 'live');
  const over = until(session, 'over', () => true);
  session.connect();
  await live;
  sockets[0].close();
  assert.deepEqual(await over, { notResumed: 'expired' });
});
