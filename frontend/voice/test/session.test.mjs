// A session on sockets that do what the test says, and on a clock that the test moves.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VoiceSession } from '../src/session.ts';
import { fakeSockets, resumed, sound, welcome } from './fake-socket.mjs';

const FRAME = new Int16Array(2_400);

function begin(context) {
  context.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  const { sockets, FakeWebSocket } = fakeSockets();
  const opened = { session: 's1', ticket: 'the-ticket', url: '/api/voice/sessions/s1/ws' };
  const session = new VoiceSession(opened, {
    base: 'https://api.test', WebSocket: FakeWebSocket, random: () => 1, waits: { firstMs: 100, maxMs: 1_000 },
  });
  const heard = [];
  for (const name of ['status', 'audio', 'turn', 'transcript', 'interrupted', 'gap', 'low_balance', 'goaway', 'error', 'over']) {
    session.on(name, (value) => heard.push([name, value]));
  }
  session.connect();
  return { session, sockets, heard, tick: (ms) => context.mock.timers.tick(ms) };
}

function live(context) {
  const stage = begin(context);
  stage.sockets[0].opens();
  stage.sockets[0].says(welcome());
  return stage;
}

const of = (heard, name) => heard.filter(([known]) => known === name).map(([, value]) => value);

test('it opens with its ticket as a subprotocol, and what was said before the welcome is said after it', (context) => {
  const { session, sockets, heard } = begin(context);
  const [socket] = sockets;
  assert.equal(socket.url, 'wss://api.test/api/voice/sessions/s1/ws');
  assert.deepEqual(socket.protocols, ['cog.voice.v1', 'cog.ticket.the-ticket']);
  assert.equal(session.speak(FRAME), true);
  session.commit('one');
  socket.opens();
  assert.deepEqual(socket.sent, []);
  socket.says(welcome());
  assert.deepEqual(socket.frames(), [1]);
  assert.deepEqual(socket.controls(), [{ type: 'commit', seq: 2, turn: 'one' }]);
  assert.deepEqual(of(heard, 'status'), ['live']);
  socket.says({ type: 'ack', seq: 2 });
  assert.equal(session.unacknowledged, 0);
});

test('it comes back with its newest token, says again what did not arrive, and takes nothing twice', (context) => {
  const { session, sockets, heard, tick } = live(context);
  session.speak(FRAME);
  session.speak(FRAME);
  session.commit('one');
  sockets[0].says({ type: 'turn', seq: 1, turn: 'one', stream: 1, state: 'speaking' });
  sockets[0].says(sound(2));
  sockets[0].breaks();
  assert.deepEqual(of(heard, 'status'), ['live', 'away']);
  tick(99);
  assert.equal(sockets.length, 1);
  tick(1);
  assert.deepEqual(sockets[1].protocols, ['cog.voice.v1']);
  sockets[1].opens();
  assert.deepEqual(sockets[1].controls(), [{ type: 'resume', session: 's1', token: 'token-1', last_down: 2, up_next: 4 }]);
  sockets[1].says(resumed({ up_next: 2, replay_from: 3 }));
  assert.deepEqual([sockets[1].frames(), sockets[1].controls().at(-1)], [[2], { type: 'commit', seq: 3, turn: 'one' }]);
  sockets[1].says(sound(3, { offset: 2, samples: [3] }));
  sockets[1].says(sound(3, { offset: 2, samples: [3] }));
  assert.equal(session.status, 'away', 'until all was said again');
  sockets[1].says({ type: 'replayed' });
  assert.deepEqual(of(heard, 'audio').map(({ turn, frame }) => [turn, frame.seq, ...frame.samples]), [['one', 2, 1, 2], ['one', 3, 3]]);
  sockets[1].breaks();
  tick(100);
  sockets[2].opens();
  assert.equal(sockets[2].controls()[0].token, 'token-2');
});

test('a socket that was given up is not listened to', (context) => {
  const { sockets, heard, tick } = live(context);
  sockets[0].breaks();
  tick(100);
  sockets[0].says({ type: 'goaway', ms: 5 });
  sockets[0].breaks();
  tick(10_000);
  assert.deepEqual(of(heard, 'goaway'), []);
});

test('a ticket whose dial ended without a word is tried once more, and is then the first token', (context) => {
  const { sockets, tick } = begin(context);
  sockets[0].breaks();
  tick(100);
  assert.deepEqual(sockets[1].protocols, ['cog.voice.v1', 'cog.ticket.the-ticket']);
  sockets[1].breaks();
  tick(200);
  assert.deepEqual(sockets[2].protocols, ['cog.voice.v1']);
  sockets[2].opens();
  assert.deepEqual(sockets[2].controls()[0], { type: 'resume', session: 's1', token: 'the-ticket', last_down: 0, up_next: 1 });
});

test('waits double while nobody answers, and begin anew after it was live', (context) => {
  const { sockets, tick } = live(context);
  for (const wait of [100, 200, 400, 800, 1_000, 1_000]) {
    sockets.at(-1).breaks();
    const known = sockets.length;
    tick(wait - 1);
    assert.equal(sockets.length, known);
    tick(1);
    assert.equal(sockets.length, known + 1);
  }
  sockets.at(-1).opens();
  sockets.at(-1).says(resumed());
  sockets.at(-1).says({ type: 'replayed' });
  sockets.at(-1).breaks();
  const known = sockets.length;
  tick(100);
  assert.equal(sockets.length, known + 1);
});

test('it is told that there is nothing to come back to, and stays away', (context) => {
  const { session, sockets, heard, tick } = live(context);
  sockets[0].breaks();
  tick(100);
  sockets[1].opens();
  sockets[1].says({ type: 'resume_failed', reason: 'expired' });
  sockets[1].breaks(4004);
  tick(60_000);
  assert.equal(sockets.length, 2);
  assert.deepEqual([session.status, of(heard, 'over')], ['over', [{ notResumed: 'expired' }]]);
  assert.equal(session.speak(FRAME), false);
});

test('downward messages are acknowledged after 16, or a quarter of a second', (context) => {
  const { sockets, tick } = live(context);
  sockets[0].says({ type: 'turn', seq: 1, turn: 'one', stream: 1, state: 'speaking' });
  tick(249);
  assert.deepEqual(sockets[0].controls(), []);
  tick(1);
  assert.deepEqual(sockets[0].controls(), [{ type: 'ack', seq: 1 }]);
  for (let seq = 2; seq <= 17; seq += 1) sockets[0].says(sound(seq));
  assert.deepEqual(sockets[0].controls().at(-1), { type: 'ack', seq: 17 });
  tick(1_000);
  assert.equal(sockets[0].controls().length, 2);
});

test('a number that was skipped makes the socket useless, and what is missing comes by the next', (context) => {
  const { sockets, tick, heard } = live(context);
  sockets[0].says({ type: 'turn', seq: 1, turn: 'one', stream: 1, state: 'speaking' });
  sockets[0].says(sound(3));
  assert.equal(sockets[0].closed, true);
  assert.deepEqual(of(heard, 'audio'), []);
  tick(100);
  sockets[1].opens();
  assert.equal(sockets[1].controls()[0].last_down, 1);
});

test('a line that is silent for two heartbeats is given up', (context) => {
  const { sockets, tick } = live(context);
  tick(15_000);
  assert.equal(sockets[0].sent.at(-1), 'ping');
  sockets[0].says('pong');
  tick(15_000);
  tick(15_000);
  assert.equal(sockets[0].closed, true);
  tick(100);
  assert.equal(sockets.length, 2);
});

test('a dial that hangs is given up', (context) => {
  const { sockets, tick } = live(context);
  sockets[0].breaks();
  tick(100);
  sockets[1].opens();
  tick(10_000);
  assert.equal(sockets[1].closed, true);
  tick(1_000);
  assert.equal(sockets.length, 3);
});

test('ten seconds are kept while it is away, and no more is taken', (context) => {
  const { session, sockets, tick } = live(context);
  sockets[0].breaks();
  for (let frame = 0; frame < 100; frame += 1) assert.equal(session.speak(FRAME), true);
  assert.equal(session.speak(FRAME), false);
  session.commit();
  tick(100);
  sockets[1].opens();
  sockets[1].says(resumed());
  assert.equal(sockets[1].frames().length, 100);
  assert.deepEqual(sockets[1].controls().at(-1), { type: 'commit', seq: 101 });
});

test('interruptions, gaps, balances and goodbyes are heard; dropped sound is not', (context) => {
  const { session, sockets, heard } = live(context);
  const [socket] = sockets;
  socket.says({ type: 'turn', seq: 1, turn: 'one', stream: 1, state: 'speaking' });
  session.interrupt('one', 120.4);
  assert.deepEqual(socket.controls().at(-1), { type: 'interrupt', seq: 1, turn: 'one', played_ms: 120 });
  socket.says(sound(2, { samples: [], flags: 1 }));
  socket.says({ type: 'interrupted', seq: 3, turn: 'one', at_seq: 2 });
  socket.says({ type: 'low_balance', ends_in_ms: 5 });
  session.played('one', 7);
  assert.deepEqual(socket.controls().at(-1), { type: 'played', turn: 'one', media_offset: 7 });
  session.bye();
  assert.deepEqual(socket.controls().at(-1), { type: 'bye' });
  socket.says({ type: 'ended', why: 'bye' });
  assert.deepEqual(heard.map(([name]) => name), ['status', 'turn', 'interrupted', 'low_balance', 'status', 'over']);
  assert.deepEqual(of(heard, 'over'), [{ ended: 'bye' }]);
});

test('a goodbye that was lost with its socket is said again', (context) => {
  const { session, sockets, heard, tick } = live(context);
  session.bye();
  sockets[0].breaks();
  tick(100);
  sockets[1].opens();
  sockets[1].says(resumed());
  assert.deepEqual(sockets[1].controls().at(-1), { type: 'bye' });
  sockets[1].says({ type: 'ended', why: 'bye' });
  assert.deepEqual(of(heard, 'over'), [{ ended: 'bye' }]);
});

test('a server that missed a message of ours is a mistake that coming back would repeat', (context) => {
  const { sockets, heard, tick } = live(context);
  sockets[0].breaks(4008);
  tick(60_000);
  assert.equal(sockets.length, 1);
  assert.deepEqual(of(heard, 'over'), [{ protocol: 'a message was skipped' }]);
});
