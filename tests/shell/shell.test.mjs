// The shell against a Rust side of a few lines: what it does when Rust traps, which no request of the product can bring
// about, and that commands share turns. Everything else of it is tested with the whole product.
import assert from 'node:assert/strict';
import { registerHooks } from 'node:module';
import { beforeEach, test } from 'node:test';

const state = { criticalError: false, instanceId: 1 };
// What the tests put in the place of Rust.
const rust = { answered: [], made: 0 };
globalThis.standIn = {
  __worker_init_state: () => state,
  __wbg_reset_state() { rust.made += 1; },
  serve: (...args) => rust.serve(...args),
  lost: (...args) => rust.lost(...args),
  resume: (...args) => rust.resume(...args),
  consume: (...args) => rust.consume(...args),
  sweep: (...args) => rust.sweep(...args),
  run() {},
  prepare() {},
  forget(task) { rust.forgotten.push(task); },
  TenantActor: class {
    answer(call) { return rust.answer(call); }
    alarm(task) { return rust.alarm(task); }
    open(call) { return rust.open(call); }
    tell() { return rust.tell(); }
    heard(...said) { return rust.heard(...said); }
  },
};
const source = (text) => ({ url: `data:text/javascript,${encodeURIComponent(text)}`, shortCircuit: true });
registerHooks({
  resolve(name, context, next) {
    if (name === 'cloudflare:workers') {
      return source('export class DurableObject { constructor(ctx, env) { Object.assign(this, { ctx, env }); } }');
    }
    if (name === './index.js') return source(`export const {${Object.keys(globalThis.standIn)}} = globalThis.standIn;`);
    return next(name, context);
  },
});
globalThis.addEventListener ??= () => {};
const { default: handlers, TenantActor } = await import('../../src/shell.js');

// An actor nobody listens to.
const quiet = { storage: {}, getWebSockets: () => [] };

const trap = () => { throw new WebAssembly.RuntimeError('unreachable'); };
const unavailable = () => Response.json({ error: 'unavailable' }, { status: 503 });
const request = () => new Request('http://shell.test/path?x=1', { headers: { 'X-One': '1' } });

// Turns that were asked for, to be run by the test.
function turnsOf(context) {
  const turns = [];
  context.mock.method(globalThis, 'setTimeout', (turn) => { turns.push(turn); });
  return turns;
}

beforeEach(() => {
  Object.assign(rust, {
    made: 0, forgotten: [], resume() {}, serve: () => undefined, answer: (call) => call, lost: unavailable,
  });
  state.criticalError = false;
});

test('a request crosses as one text, and a reply that is there at once needs no promise', () => {
  const reply = new Response('here');
  rust.serve = (task, _request, _env, _context, head) => { rust.head = head; return reply; };
  assert.equal(handlers.fetch(request(), {}, {}), reply);
  assert.equal(rust.head, 'GET\nhttp://shell.test/path?x=1\n{"x-one":"1"}');
});

test('a trap answers everybody who waits in that memory, and the next request has a new one', async () => {
  let lastTask;
  rust.serve = (task) => { lastTask = task; };
  const waiting = [handlers.fetch(request(), {}, {}), handlers.fetch(request(), {}, {})];
  rust.serve = trap;
  const trapped = handlers.fetch(request(), {}, {});
  for (const reply of [trapped, ...await Promise.all(waiting)]) {
    assert.equal(reply.status, 503);
    assert.equal((await reply.json()).error, 'unavailable');
  }
  assert.equal(rust.made, 1, 'one new memory tells them all');
  rust.serve = (task) => { lastTask = task; };
  const next = handlers.fetch(request(), {}, {});
  assert.equal(rust.made, 1);
  cognomega.finish(lastTask, new Response('well'));
  assert.equal(await (await next).text(), 'well');
});

test('a reply for a lost request is made by Rust in its new memory, of the same request', async (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: 1_000 });
  const env = {};
  rust.serve = trap;
  rust.lost = (...args) => { rust.told = [state.criticalError, rust.made, ...args]; return unavailable(); };
  const asked = request();
  assert.equal(handlers.fetch(asked, env, {}).status, 503);
  assert.deepEqual(rust.told, [false, 1, asked, env, 'GET\nhttp://shell.test/path?x=1\n{"x-one":"1"}', 1_000]);
});

test('where that traps too, the client is told so all the same, and the log by the same id', async (context) => {
  const log = context.mock.method(console, 'log', () => {});
  rust.serve = trap;
  rust.lost = trap;
  for (const ray of ['8f1c2d3e4f5a6b7c-FRA', null]) {
    const headers = ray ? { 'cf-ray': ray } : {};
    const reply = handlers.fetch(new Request('http://shell.test/api/credits', { headers }), {}, {});
    const { error, message, request_id: id } = await reply.json();
    assert.deepEqual([reply.status, error, reply.headers.get('retry-after')], [503, 'unavailable', '1']);
    assert.ok(message);
    assert.equal(id, reply.headers.get('x-request-id'));
    if (ray) assert.equal(id, ray);
    const lines = log.mock.calls.map(({ arguments: [line] }) => JSON.parse(line));
    assert.ok(lines.some((line) => line.event === 'reply_lost' && line.request_id === id));
  }
  rust.serve = () => new Response('well');
  assert.equal(await handlers.fetch(request(), {}, {}).text(), 'well');
});

test('a promise of a lost memory resumes nothing in the new one', async () => {
  const resumed = [];
  rust.resume = (slot, kept) => resumed.push([slot, kept]);
  let end;
  cognomega.settle(new Promise((done) => { end = done; }), 7);
  cognomega.settle(Promise.reject(new Error('no')), 8);
  await new Promise(setImmediate);
  assert.deepEqual(resumed, [[8, false]]);
  rust.serve = trap;
  handlers.fetch(request(), {}, {});
  end();
  await new Promise(setImmediate);
  assert.deepEqual(resumed, [[8, false]]);
});

test('commands that come together run in one turn, in order, and a trap is one command\'s alone', async (context) => {
  const turns = turnsOf(context);
  const actor = new TenantActor(quiet, {});
  const ran = [];
  rust.answer = (call) => {
    ran.push(call);
    return call === 'trap' ? trap() : call;
  };
  const calls = ['a', 'trap', 'b'].map((text) => actor.command(text));
  assert.deepEqual(ran, [], 'not before their turn');
  assert.equal(turns.length, 1);
  turns.shift()();
  assert.deepEqual(ran, ['a', 'trap', 'b'], 'all of them in one turn');
  const ends = await Promise.allSettled(calls);
  assert.deepEqual(ends.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled']);
  assert.equal(rust.made, 1, 'the command after the trap had a new memory');
});

test('a front door of the version before is answered in its own form', async (context) => {
  const turns = turnsOf(context);
  const actor = new TenantActor(quiet, {});
  rust.answer = (call) => `heard ${call}`;
  const answers = [actor.command(new TextEncoder().encode('"ä"')), actor.command('"ä"')];
  turns.shift()();
  const [asBytes, asText] = await Promise.all(answers);
  assert.ok(asBytes instanceof Uint8Array);
  assert.equal(new TextDecoder().decode(asBytes), 'heard "ä"');
  assert.equal(asText, 'heard "ä"');
});

test('a turn is bounded, and so is what waits for one', async (context) => {
  const turns = turnsOf(context);
  const actor = new TenantActor(quiet, {});
  let ran = 0;
  rust.answer = (call) => { ran += 1; return call; };
  const calls = Array.from({ length: 4_096 }, () => actor.command('x'));
  assert.throws(() => actor.command('x'), /too many commands wait/);
  turns.shift()();
  assert.equal(ran, 128);
  while (turns.length > 0) turns.shift()();
  assert.equal(ran, 4_096);
  await Promise.all(calls);
});

test('a request of which nothing was heard for long is forgotten', (context) => {
  context.mock.timers.enable({ apis: ['Date'] });
  let first;
  rust.serve = (task) => { first ??= task; };
  handlers.fetch(request(), {}, {});
  context.mock.timers.tick(1_200_001);
  rust.serve = () => new Response('');
  for (let n = 0; n < 1_024; n += 1) handlers.fetch(request(), {}, {});
  assert.ok(rust.forgotten.includes(first));
});

test('a trap gives messages, and the work of the trigger, back to the runtime', async () => {
  for (const [name, call] of [
    ['consume', () => handlers.queue({}, {}, {})], ['sweep', () => handlers.scheduled({ scheduledTime: 7 }, {})],
  ]) {
    rust[name] = () => true;
    assert.equal(call(), true, 'done at once');
    rust[name] = () => undefined;
    const under = call();
    rust[name] = trap;
    assert.throws(call);
    await assert.rejects(under, 'told at once');
  }
});

test('a trap ends an alarm that is under way, so that the runtime rings again', async () => {
  const actor = new TenantActor(quiet, {});
  rust.alarm = () => true;
  assert.equal(actor.alarm(), true, 'done at once');
  rust.alarm = () => undefined;
  const under = actor.alarm();
  // As Rust's own handler tells it: in a timer or a listener nobody else sees the trap.
  cognomega.aborted();
  await assert.rejects(under);
  assert.equal(rust.made, 0);
  rust.alarm = trap;
  assert.throws(() => actor.alarm());
  assert.equal(rust.made, 1, 'in a memory of its own');
});

test('bodies that never come take no more than their room', async () => {
  const begun = [];
  rust.serve = (task) => { begun.push(task); };
  const replies = [];
  for (let n = 0; n < 1_100; n += 1) {
    replies.push(handlers.fetch(request(), {}, {}));
    cognomega.reading(begun.at(-1), true);
  }
  assert.deepEqual(rust.forgotten, begun.slice(0, 1_100 - 1_024), 'the oldest are given up');
  assert.equal((await replies[0]).status, 503);
  for (const task of begun) cognomega.reading(task, false);
  cognomega.reading(begun.at(-1), true);
  assert.equal(rust.forgotten.length, 1_100 - 1_024, 'those whose body came take no room');
  cognomega.reading(begun.at(-1), false);
});

test('who listens is told once a turn, and an actor nobody listens to pays nothing', async (context) => {
  const turns = turnsOf(context);
  let told = 0;
  let open = 0;
  let asked = 0;
  rust.tell = () => { told += 1; };
  const actor = new TenantActor({ storage: {}, getWebSockets() { asked += 1; return Array(open); } }, {});
  const turn = async (count) => {
    const calls = Array.from({ length: count }, () => actor.command('x'));
    turns.shift()();
    await Promise.all(calls);
  };
  await turn(3);
  await turn(2);
  assert.deepEqual([told, asked], [0, 1], 'the runtime is asked once');
  open = 1;
  rust.open = () => new Response('');
  const opening = actor.fetch(new Request('https://actor/', { headers: { 'x-call': '%7B%7D' } }));
  turns.shift()();
  await opening;
  await turn(3);
  assert.equal(told, 2, 'in the turn that opened it, and in the next');
  open = 0;
  actor.webSocketClose({ close() {} }, 1000);
  await turn(1);
  assert.equal(told, 2);
});

test('a refused socket is told why, and a trap while telling is nobody\'s answer', async (context) => {
  const turns = turnsOf(context);
  const actor = new TenantActor({ storage: {}, getWebSockets: () => [1] }, {});
  rust.open = (call) => `refused ${call}`;
  rust.tell = trap;
  const opening = actor.fetch(new Request('https://actor/', { headers: { 'x-call': encodeURIComponent('{"ä":1}') } }));
  const command = actor.command('x');
  turns.shift()();
  assert.equal(await (await opening).text(), 'refused {"ä":1}');
  await command;
  rust.answer = (call) => call;
  rust.tell = () => {};
  const next = actor.command('y');
  turns.shift()();
  await next;
  assert.equal(rust.made, 1, 'the next turn had a new memory');
});

test('a message is carried over when it is short text, and its length always', () => {
  const actor = new TenantActor(quiet, {});
  const said = [];
  rust.heard = (_socket, ...what) => { said.push(what); };
  for (const message of ['{}', 'x'.repeat(4_097), new ArrayBuffer(7)]) actor.webSocketMessage({}, message);
  assert.deepEqual(said, [['{}', 2], [undefined, 4_097], [undefined, 7]]);
  rust.heard = trap;
  actor.webSocketMessage({}, '{}');
  assert.equal(state.criticalError, true);
});

// A bucket that reads what it is given, and the runtime's stream of a fixed length, which breaks off what is not exactly
// as long.
function bucketOf({ refuses } = {}) {
  globalThis.FixedLengthStream = class extends TransformStream {
    constructor(length) {
      let left = length;
      super({
        transform(chunk, controller) {
          left -= chunk.length;
          if (left < 0) throw new TypeError('too many bytes');
          controller.enqueue(chunk);
        },
        flush() { if (left > 0) throw new TypeError('too few bytes'); },
      });
    }
  };
  const stored = new Map();
  return {
    stored,
    async put(key, stream, options) {
      if (refuses) throw new Error(refuses);
      const bytes = [];
      for await (const chunk of stream) bytes.push(...chunk);
      stored.set(key, { bytes, options });
      return { size: bytes.length, etag: 'e', version: 'v' };
    },
  };
}

const bodyOf = (...chunks) => new ReadableStream({
  start(controller) {
    for (const chunk of chunks) {
      if (chunk instanceof Error) { controller.error(chunk); return; }
      controller.enqueue(new Uint8Array(chunk));
    }
    controller.close();
  },
});

const put = (bucket, body, length, signal) =>
  globalThis.cognomega.objectPut({ R2_UPLOADS: bucket }, 'k', body, length, '{"a":1}', signal);

test('a body that is exactly as long as it was said to be is stored', async () => {
  const bucket = bucketOf();
  assert.equal(await put(bucket, bodyOf([1, 2], [3]), 3), '{"size":3,"etag":"e","version":"v"}');
  assert.deepEqual(bucket.stored.get('k'), { bytes: [1, 2, 3], options: { a: 1 } });
});

test('one that is longer, shorter, breaks off or is given up is not, and the body is to blame', async () => {
  const aborted = AbortSignal.abort();
  for (const [body, length, signal] of [
    [bodyOf([1, 2, 3, 4]), 3], [bodyOf([1, 2], [3, 4]), 3], [bodyOf([1, 2]), 3], [bodyOf([1], new Error('gone')), 3],
    [bodyOf([1, 2, 3]), 3, aborted],
  ]) {
    const bucket = bucketOf();
    assert.equal(await put(bucket, body, length, signal), undefined);
    assert.equal(bucket.stored.size, 0);
  }
});

test('what the bucket refuses is thrown', async () => {
  await assert.rejects(put(bucketOf({ refuses: 'put: internal (10001)' }), bodyOf([1]), 1), /10001/);
});
