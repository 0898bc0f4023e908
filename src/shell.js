// What the runtime finds in the bundle: its handlers, and the classes of the actors. Nothing is decided here. Bytes and
// promises are carried between the runtime and Rust with as few crossings as can be; a crossing costs little, but what
// the bindings' generators wrap around each one costs more than the work itself.
//
// The build puts this file in the place of the generated one: ops/setup/bundle.sh.
import { DurableObject } from 'cloudflare:workers';
import * as rust from './index.js';

Error.stackTraceLimit = 100;
const state = rust.__worker_init_state();

// Requests and kept work that wait: a task's number to how it ends. Rust holds the work itself.
const tasks = new Map();
let lastTask = 0;
// A request that the runtime gave up, because its client went away, is never heard of again. No work of ours lasts as
// long as this, in milliseconds; looked for at every so many requests.
const TASK_AGE_MAX_MS = 1_200_000;
const TASKS_BETWEEN_SWEEPS = 1_024;

// Requests whose body is still being read. Of one whose client went away in the middle nothing is heard either, and
// anybody can leave many: beyond so many, each new one takes the place of the oldest.
const reading = new Set();
const READING_MAX = 1_024;

// Commands of one turn: at a fifth of a millisecond each, some tens of milliseconds.
const GROUP_COMMANDS_MAX = 128;
// Commands that may wait for their turn. Beyond it the actor says that it is busy instead of growing.
const WAITING_COMMANDS_MAX = 4_096;

// What the names of actors that have jobs are listed under.
const WITH_JOBS = 'with-jobs:';

// How a command comes that opens a socket: a request that is upgraded has no body.
const CALL = 'x-call';
// Messages of clients longer than this, in UTF-16 units, are not carried over; the actor is told how long they are.
const MESSAGE_LENGTH_MAX = 4_096;

// The same of a voice session, in UTF-16 units and in bytes: what is longer is cut to one more than is read.
const VOICE_LENGTH_MAX = 8_193;
const VOICE_BYTES_MAX = 19_213;

// Before each call. A trap leaves the instance's memory unusable: a new one takes its place. Memory is only a cache.
function enter() {
  if (!state.criticalError) return;
  console.log(JSON.stringify({ event: 'instance_replaced' }));
  rust.__wbg_reset_state();
  state.criticalError = false;
  state.instanceId += 1;
  rust.prepare();
}

// After a trap, wherever it was. Everything that waited in that memory is lost, and told so at once: requests get their
// 503, an alarm is rung again by the runtime.
function broke(error) {
  state.criticalError = true;
  for (const { failed } of tasks.values()) failed(error);
  tasks.clear();
  reading.clear();
}

// The reply of a request whose work was lost: made by Rust, in a new memory when the old one broke, with all that every
// reply and every line of the log has. Where that breaks too there is no more than this.
function lost(request, env, head, startedMs) {
  try {
    enter();
    return rust.lost(request, env, head, startedMs);
  } catch (error) {
    broke(error);
    const id = request.headers.get('cf-ray') ?? crypto.randomUUID();
    console.log(JSON.stringify({ event: 'reply_lost', request_id: id }));
    const message = 'the service could not do this now; with an Idempotency-Key it can safely be sent again';
    const headers = {
      'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', 'retry-after': '1', 'x-request-id': id,
    };
    return Response.json({ error: 'unavailable', message, request_id: id }, { status: 503, headers });
  }
}

function step(instance, slot, kept, value) {
  enter();
  if (instance !== state.instanceId) return; // its task was told already
  try { rust.resume(slot, kept, value); } catch (error) { broke(error); }
}

// Ends a task from outside. Its request, if it still waits, makes its reply by itself.
function drop(task) {
  reading.delete(task);
  tasks.get(task)?.failed(new Error('dropped'));
  tasks.delete(task);
  rust.forget(task);
}

function waiting(task) {
  return new Promise((done, failed) => { tasks.set(task, { done, failed, sinceMs: Date.now() }); });
}

// A body whose length nobody told, in pieces that are not copied; null where there is more than may be.
async function gathered(request, bytesMax) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) return null;
    chunks.push(chunk);
  }
  return new Response(new Blob(chunks), { headers: { 'content-type': request.headers.get('content-type') ?? '' } });
}

// Work that the runtime asks for and waits for: its end. What traps is thrown, and the runtime asks again.
function ended(begin) {
  enter();
  const task = nextTask();
  try {
    return begin(task) ?? waiting(task);
  } catch (error) {
    broke(error);
    throw error;
  }
}

function nextTask() {
  lastTask = (lastTask + 1) >>> 0;
  if (lastTask % TASKS_BETWEEN_SWEEPS === 0) sweep(Date.now() - TASK_AGE_MAX_MS);
  return lastTask;
}

function sweep(beforeMs) {
  for (const [task, { sinceMs }] of tasks) {
    if (sinceMs >= beforeMs) return; // in the order of their age
    drop(task);
  }
}

// A socket of an actor's: it answers with the response that opens it, or with why not.
const openSocket = (actor, call) => actor.fetch('https://actor/', {
  headers: { upgrade: 'websocket', [CALL]: encodeURIComponent(call) },
});

// What Rust asks of this side.
globalThis.cognomega = {
  // Has `slot` hear of a promise's end, in the context of the request that made it.
  settle(promise, slot) {
    const instance = state.instanceId;
    promise.then((value) => step(instance, slot, true, value), (error) => step(instance, slot, false, error));
  },
  // The same of a stream's reader: what it read, or undefined at the end.
  settleRead(promise, slot) {
    const instance = state.instanceId;
    promise.then(
      ({ done, value }) => step(instance, slot, true, done ? undefined : value),
      (error) => step(instance, slot, false, error),
    );
  },
  // Runs what was woken from outside of a step.
  soon() {
    const instance = state.instanceId;
    Promise.resolve().then(() => {
      enter();
      if (instance !== state.instanceId) return;
      try { rust.run(); } catch (error) { broke(error); }
    });
  },
  // A number for work that goes on when its request is answered or gone.
  keep(context) {
    const task = nextTask();
    context.waitUntil(waiting(task).catch(() => {}));
    return task;
  },
  reading(task, begins) {
    if (!begins) {
      reading.delete(task);
      return;
    }
    if (reading.size >= READING_MAX) {
      const [oldest] = reading;
      drop(oldest);
    }
    reading.add(task);
  },
  aborted() { broke(new Error('the instance is lost')); },
  finish(task, value) {
    const found = tasks.get(task);
    tasks.delete(task);
    found?.done(value);
  },
  // One command to an actor: text there and text back, which the runtime carries for less than bytes.
  command: (env, name, call) => env.TENANT.getByName(name).command(call),
  listen: (env, name, call) => openSocket(env.TENANT.getByName(name), call),
  // A socket that the runtime keeps while its actor sleeps; whoever pings it wakes nobody.
  accept(state) {
    const [client, server] = Object.values(new WebSocketPair());
    state.setWebSocketAutoResponse(new WebSocketRequestResponsePair('ping', 'pong'));
    state.acceptWebSocket(server);
    return { server, response: new Response(null, { status: 101, webSocket: client }) };
  },
  upgraded: (init, opened) => new Response(null, { ...JSON.parse(init), webSocket: opened.webSocket }),
  voice: (env, name, call) => env.VOICE.getByName(name).command(call),
  speak: (env, name, call) => openSocket(env.VOICE.getByName(name), call),
  address: (env, name, call) => env.ADDRESS.getByName(name).command(call),
  // Text that is kept for a while, near where it was made; undefined where there is none.
  recall: async (key) => (await caches.default.match(`https://cache.invalid/${key}`))?.text(),
  remember: (key, text, ttlS) => caches.default.put(
    `https://cache.invalid/${key}`, new Response(text, { headers: { 'cache-control': `max-age=${ttlS}` } }),
  ),
  // Messages for the queue, each a text: JSON, as the consumer reads it.
  enqueue: (env, bodies) => env.JOBS.sendBatch(
    JSON.parse(bodies).map((body) => ({ body: JSON.stringify(body), contentType: 'text' })),
  ),
  // Actors that have jobs, by their names.
  noteJobs: (env, name, ttlS) => env.KV_BILLING.put(`${WITH_JOBS}${name}`, '', { expirationTtl: ttlS }),
  withJobs: async (env, prefix, limit) => {
    const { keys } = await env.KV_BILLING.list({ prefix: `${WITH_JOBS}${prefix}`, limit });
    return keys.map(({ name }) => name.slice(WITH_JOBS.length)).join('\n');
  },
  // A form's names with their texts as JSON (null for a file, false for a text that is too long), and its files, which
  // stay where they are. Null where there is more than may be.
  async form(request, bytesMax, textLengthMax) {
    const whole = request.headers.has('content-length') ? request : await gathered(request, bytesMax);
    if (whole === null) return null;
    const files = [];
    const fields = [...await whole.formData()].map(([name, value]) => {
      if (typeof value === 'string') return [name, value.length > textLengthMax ? false : value];
      files.push(value);
      return [name, null];
    });
    return [JSON.stringify(fields), ...files];
  },
  async digest(blob) {
    const digest = new crypto.DigestStream('SHA-256');
    await blob.stream().pipeTo(digest);
    return new Uint8Array(await digest.digest).toHex();
  },
  base64: async (blob) => new Uint8Array(await blob.arrayBuffer()).toBase64(),
  store: (env, name, chunks, contentType) => env.R2.put(name, new Blob(chunks), { httpMetadata: { contentType } }),
  load: (env, name) => env.R2.get(name),
  // Objects of the bucket of uploads: what one is, its bytes; undefined where there is none.
  async objectHead(env, key) {
    const found = await env.R2_UPLOADS.head(key);
    if (!found) return undefined;
    const { size, httpMetadata, customMetadata } = found;
    return JSON.stringify({ size, content_type: httpMetadata?.contentType, owner: customMetadata?.tenant });
  },
  objectBytes: async (env, key, length) =>
    (await env.R2_UPLOADS.get(key, length && { range: { offset: 0, length } }))?.arrayBuffer(),
  objectBlob: async (env, key) => (await env.R2_UPLOADS.get(key))?.blob(),
  // A new object, passed on as it comes. The runtime breaks the stream off when it is not exactly as long as was said, and
  // a broken one stores nothing. Undefined when the body is to blame; what the bucket itself refuses is thrown.
  async objectPut(env, key, body, length, options, signal) {
    const sized = new FixedLengthStream(length);
    const piped = body.pipeTo(sized.writable, { signal }).then(() => true, () => false);
    try {
      const { size, etag, version } = await env.R2_UPLOADS.put(key, sized.readable, JSON.parse(options));
      return JSON.stringify({ size, etag, version });
    } catch (error) {
      // A body that broke off ends the pipe in the same turn; a bucket that refuses may leave it waiting.
      const whole = await Promise.race([piped, new Promise((turn) => { setTimeout(turn, 0, true); })]);
      // How the bucket's own refusals begin.
      if (error.message.startsWith('put: ') || (whole && !(error instanceof TypeError))) throw error;
      return undefined;
    }
  },
  catalog: (env, name, call) => env.CATALOG.getByName(name).command(call),
  experiment: (env, name, call) => env.EXPERIMENT.getByName(name).command(call),
  response: (init, body) => new Response(body, JSON.parse(init)),
};

rust.prepare();

export default {
  fetch(request, env, context) {
    enter();
    const task = nextTask();
    const startedMs = Date.now();
    const head = `${request.method}\n${request.url}\n${JSON.stringify(Object.fromEntries(request.headers))}`;
    try {
      const reply = rust.serve(task, request, env, context, head);
      return reply ?? waiting(task).catch(() => lost(request, env, head, startedMs));
    } catch (error) {
      broke(error);
      return lost(request, env, head, startedMs);
    }
  },
  // What is not acknowledged when this ends, or fails, comes again.
  queue: (batch, env, context) => ended((task) => rust.consume(task, batch, env, context)),
  scheduled: (event, env) => ended((task) => rust.sweep(task, event.scheduledTime, env)),
};

// An actor, of whatever kind: what it decides is in Rust, made by the class's own `made`.
class Actor extends DurableObject {
  #actor; #instance; #waiting = []; #scheduled = false;
  // Whether sockets are open; null when the runtime has to be asked.
  #listened = null;

  // Made on first use and after a trap. It holds no truth: everything in memory can be lost at any time.
  get #rust() {
    enter();
    if (this.#instance !== state.instanceId) {
      this.#actor = this.constructor.made(this.ctx, this.env);
      this.#instance = state.instanceId;
    }
    return this.#actor;
  }

  // A command as text in, its answer as text out. Only the front door has this binding.
  //
  // Group commit: a commit is the price of a command. The runtime syncs the disk once for all that one turn wrote, and
  // holds every reply of the turn back until it has. So commands are gathered while the disk is busy, and run together
  // in the next turn, each in a transaction of its own: one that is refused or traps undoes itself and nothing else.
  // The turn belongs to the actor and to no request, so none that goes away takes it along.
  command(call) {
    // While a deployment is under way, front doors of before ask in bytes, and are answered so.
    if (typeof call !== 'string') {
      return this.command(new TextDecoder().decode(call)).then((answer) => new TextEncoder().encode(answer));
    }
    return this.#queued(() => this.#rust.answer(call));
  }

  // A command that opens a socket. What it answers is the response itself, or a refusal's text.
  fetch(request) {
    const call = decodeURIComponent(request.headers.get(CALL));
    return this.#queued(() => {
      const opened = this.#rust.open(call);
      this.#listened = null;
      return typeof opened === 'string' ? new Response(opened) : opened;
    });
  }

  #queued(run) {
    if (this.#waiting.length >= WAITING_COMMANDS_MAX) throw new Error('too many commands wait');
    return new Promise((done, failed) => {
      this.#waiting.push({ run, done, failed });
      this.#schedule();
    });
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => this.#turn(), 0);
  }

  #turn() {
    this.#scheduled = false;
    for (const { run, done, failed } of this.#waiting.splice(0, GROUP_COMMANDS_MAX)) {
      try {
        done(run());
      } catch (error) {
        broke(error);
        failed(error);
      }
    }
    if (this.constructor.tells) {
      this.#listened ??= this.ctx.getWebSockets().length > 0;
      if (this.#listened) this.#guarded((actor) => actor.tell());
    }
    if (this.#waiting.length > 0) this.#schedule();
  }

  // A trap while nobody waits for an answer.
  #guarded(work) {
    try { work(this.#rust); } catch (error) { broke(error); }
  }

  webSocketMessage(socket, message) {
    this.#guarded((actor) => this.constructor.heard(actor, socket, message));
  }

  // The goodbye is said back here: the runtime itself does so late, and a client would take its socket for broken.
  webSocketClose(socket, code) {
    this.#listened = null;
    this.#left(socket);
    // 1005 says that the client gave no code; no frame may have it.
    try { socket.close(code === 1005 ? 1000 : code); } catch { /* it is closed, or its code is none that can be sent */ }
  }

  webSocketError(socket) {
    this.#listened = null;
    this.#left(socket);
  }

  // Who only listens is missed by nobody.
  #left(socket) {
    const { left } = this.constructor;
    if (left) this.#guarded((actor) => left(actor, socket));
  }

  // When it fails, the runtime rings again.
  alarm() {
    const actor = this.#rust;
    return ended((task) => actor.alarm(task));
  }
}

export class TenantActor extends Actor {
  // Its sockets are told what its commands changed.
  static tells = true;

  static heard(actor, socket, message) {
    const text = typeof message === 'string' && message.length <= MESSAGE_LENGTH_MAX ? message : undefined;
    actor.heard(socket, text, message.length ?? message.byteLength);
  }

  static made = (ctx, env) => new rust.TenantActor(ctx, env);
}

export class AddressActor extends Actor {
  static made = (ctx) => new rust.AddressActor(ctx.storage);
}

export class CatalogActor extends Actor {
  static made = (ctx) => new rust.CatalogActor(ctx.storage);
}

export class ExperimentActor extends Actor {
  static made = (ctx) => new rust.ExperimentActor(ctx.storage);
}

export class VoiceActor extends Actor {
  static heard(actor, socket, message) {
    if (typeof message === 'string') actor.said(socket, message.slice(0, VOICE_LENGTH_MAX));
    else actor.heard(socket, new Uint8Array(message, 0, Math.min(message.byteLength, VOICE_BYTES_MAX)));
  }

  static left(actor, socket) { actor.left(socket); }

  static made = (ctx, env) => new rust.VoiceActor(ctx, env);
}
