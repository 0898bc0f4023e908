// Cartesia's official client for Node against its stand-in: one line for each step that went as its types say.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import Cartesia, { toFile } from '@cartesia/cartesia-js';

// The client always encrypts its socket for speech; the loopback has no certificate.
globalThis.WebSocket = class extends WebSocket {
  constructor(url, ...more) {
    super(String(url).replace(/^wss:/, 'ws:'), ...more);
  }
};

const { BASE_URL: baseURL, API_KEY: apiKey, TEXT, SOUND } = process.env;
const client = new Cartesia({ apiKey, baseURL, maxRetries: 0 });
const voice = 'a0e99841-438c-4a64-b679-ae501e7d6091';
const sound = readFileSync(SOUND);
const done = (step, seen) => console.log(`${step}: ${seen}`);
const raw = { container: 'raw', encoding: 'pcm_s16le', sample_rate: 16_000 };
const usual = { model_id: 'sonic-3', voice, output_format: raw };
const bytesOf = async (response) => Buffer.from(await response.arrayBuffer());

const wav = await bytesOf(
  await client.tts.generate({ ...usual, transcript: TEXT, output_format: { ...raw, container: 'wav' } }),
);
assert.deepEqual(wav.subarray(44), sound);
done('bytes, wav', `${wav.length} bytes`);
const mp3 = await bytesOf(
  await client.tts.generate({
    ...usual, transcript: TEXT, output_format: { container: 'mp3', sample_rate: 24_000, bit_rate: 128_000 },
  }),
);
assert.equal(mp3.subarray(0, 3).toString(), 'ID3');
done('bytes, mp3', `${mp3.length} bytes`);

const pieces = [];
for await (const event of await client.tts.generateSSE({ ...usual, transcript: TEXT })) {
  if (event.type === 'chunk') pieces.push(Buffer.from(event.data, 'base64'));
  else assert.equal(event.type, 'done');
}
assert.deepEqual(Buffer.concat(pieces), sound);
done('events', `${pieces.length} chunks`);

const received = async (context) => {
  const events = [];
  for await (const event of context.receive({ timeout: 5_000 })) events.push(event);
  return events;
};
const heard = (events) => Buffer.concat(events.filter((event) => event.type === 'chunk').map((event) => event.audio));
const socket = await client.tts.websocket();
const failures = [];
socket.on('error', (error) => failures.push(error));
const one = socket.context({ ...usual, add_timestamps: true });
const other = socket.context(usual);
await one.push({ transcript: TEXT.slice(0, 9), flush: true });
await other.push({ transcript: TEXT });
await one.push({ transcript: TEXT.slice(9) });
await one.no_more_inputs();
await other.no_more_inputs();
const [events, others] = [await received(one), await received(other)];
assert.deepEqual([heard(events), heard(others)], [sound, sound]);
const kinds = [...new Set(events.map((event) => event.type))];
assert.deepEqual(kinds, ['chunk', 'timestamps', 'flush_done', 'done']);
const flushed = events.find((event) => event.type === 'flush_done');
const before = events.filter((event) => event.type === 'chunk' && event.flush_id === flushed.flush_id);
assert.deepEqual(heard(before), sound.subarray(0, heard(before).length));
assert.equal(heard(before).length, 9 * 1_280);
done('socket, two contexts', `${events.length} and ${others.length} events, ${kinds.join(', ')}`);

const failing = socket.context(usual);
await failing.push({ transcript: 'sdk-error' });
await assert.rejects(received(failing));
done('socket, error', failures.length);
const changing = socket.context(usual);
await changing.push({ transcript: 'Hello. ' });
await changing.send({ transcript: 'Hallo.', language: 'de', continue: true });
await assert.rejects(received(changing));
done('socket, changed field', 'refused');
const slow = socket.context(usual);
await slow.push({ transcript: 'sdk-slow '.repeat(20) });
await new Promise((resolve) => setTimeout(resolve, 200));
await slow.cancel();
const late = socket.context(usual);
await late.push({ transcript: 'Late.' });
await new Promise((resolve) => setTimeout(resolve, 1_500));
await late.push({ transcript: 'Too late.' });
await assert.rejects(received(late));
done('socket, cancelled and expired', 'refused');
socket.close();

const text = await new Promise((resolve, reject) => {
  const stt = client.stt.manualFinalize.websocket({ model: 'ink-2', encoding: 'pcm_s16le', sample_rate: 16_000 });
  const texts = ['', ''];
  let utterance = 0;
  const say = () => {
    for (let at = 0; at < sound.length; at += 3_200) stt.sendRaw(sound.subarray(at, at + 3_200));
    stt.send('finalize');
  };
  stt.on('error', reject);
  stt.on('transcript', (event) => {
    if (event.is_final) texts[utterance] += event.text;
  });
  stt.on('flush_done', () => {
    utterance += 1;
    if (utterance < 2) say();
    else stt.send('close');
  });
  stt.on('done', () => {
    stt.close();
    resolve(texts);
  });
  say();
});
assert.deepEqual(text, [TEXT, TEXT]);
done('hearing, socket', JSON.stringify(text));
const file = await toFile(wav, 'turn.wav');
const whole = await client.stt.transcribe({ file, model: 'ink-whisper', language: 'en', timestamp_granularities: ['word'] });
assert.equal(whole.text, TEXT);
assert.equal(whole.words.length, TEXT.split(' ').length);
done('hearing, file', `"${whole.text}", ${whole.duration} s`);

const stranger = new Cartesia({ apiKey: 'sk_nobody', baseURL, maxRetries: 0 });
await assert.rejects(stranger.tts.generate({ ...usual, transcript: TEXT }), (error) => error.status === 401);
done('another key', '401');
