// OpenAI's official client for Node against this service: one line for each step that went as it does with OpenAI.
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import OpenAI from 'openai';

const { BASE_URL: baseURL, API_KEY, POOR_KEY, SLOW_KEY, RECORDING } = process.env;
const client = new OpenAI({ baseURL, apiKey: API_KEY });
const user = (content) => [{ role: 'user', content }];
const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }];
const done = (step, seen) => console.log(`${step}: ${seen}`);
const fails = async (step, kind, status, code, call) => {
  const error = await call().then(() => assert.fail(`${step} did not fail`), (error) => error);
  assert.ok(error instanceof kind, `${step}: ${error}`);
  assert.deepEqual([error.status, error.code], [status, code], `${step}: ${error}`);
  done(step, `${error.constructor.name}, ${status} ${code}, type ${error.type}`);
  return error;
};

const models = [];
for await (const model of client.models.list()) models.push(model.id);
assert.equal(models[0], 'auto');
done('models', `${models.length} of them`);

const plain = await client.chat.completions.create({ model: 'auto', max_tokens: 200, messages: user('sdk-plain') });
assert.equal(plain.choices[0].message.content, 'The sky is blue.');
assert.equal(plain.usage.total_tokens, 244);
done('plain', `"${plain.choices[0].message.content}", ${plain.usage.total_tokens} tokens`);

const { data, response } = await client.chat.completions
  .create({
    model: 'auto', stream: true, stream_options: { include_usage: true }, max_tokens: 200, messages: user('sdk-stream'),
  })
  .withResponse();
let text = '';
let usage;
for await (const chunk of data) {
  text += chunk.choices[0]?.delta?.content ?? '';
  usage = chunk.usage ?? usage;
}
assert.equal(text, 'w0 w1 w2 w3 w4 ');
assert.deepEqual([usage.prompt_tokens, usage.completion_tokens], [20, 10]);
done('stream', `"${text}", usage ${usage.total_tokens}, provider ${response.headers.get('x-provider')}`);

const aborted = await client.chat.completions.create({ model: 'auto', stream: true, messages: user('sdk-abort') });
let seen = 0;
for await (const _chunk of aborted) if (++seen === 3) aborted.controller.abort();
done('aborted', `after ${seen} chunks`);

const whole = await client.chat.completions.create({ model: 'auto', tools, messages: user('sdk-tools-whole') });
const [call] = whole.choices[0].message.tool_calls;
assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ['weather', { city: 'Paris' }]);
done('tool call', `${call.function.name}(${call.function.arguments})`);

const runner = client.chat.completions.stream({ model: 'auto', tools, messages: user('sdk-tools-stream') });
const final = await runner.finalChatCompletion();
const [streamed] = final.choices[0].message.tool_calls;
assert.deepEqual(JSON.parse(streamed.function.arguments), { city: 'Paris' });
done('tool call, streamed', `${streamed.function.name}(${streamed.function.arguments})`);

const picture = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } };
const json = await client.chat.completions.create({
  model: 'auto', response_format: { type: 'json_object' }, messages: user([{ type: 'text', text: 'sdk-picture' }, picture]),
});
assert.deepEqual(JSON.parse(json.choices[0].message.content), { seen: 'a cat' });
done('picture and JSON mode', json.choices[0].message.content);

const retried = await client.chat.completions.create({ model: 'auto', messages: user('sdk-retry') });
assert.equal(retried.choices[0].message.content, 'At last.');
done('retried by the client', `"${retried.choices[0].message.content}"`);

const options = { headers: { 'Idempotency-Key': 'sdk-key' } };
const keyed = () => client.chat.completions.create({ model: 'auto', max_tokens: 300, messages: user('sdk-key') }, options);
assert.deepEqual(await keyed(), await keyed());
done('the same Idempotency-Key twice', 'one answer');

const embedded = await client.embeddings.create({ model: '@cf/baai/bge-base-en-v1.5', input: ['sdk', 'b'] });
assert.deepEqual([...embedded.data[1].embedding], [0.5, -1, 1]);
done('embeddings', `${embedded.data.length} of ${embedded.data[0].embedding.length} numbers`);

const spoken = { model: 'auto', voice: 'alloy', input: 'sdk-speech', response_format: 'mp3' };
const expected = Buffer.concat([...Array(10).keys()].map((n) => Buffer.alloc(1000, n)));
const sound = await client.audio.speech.create(spoken);
assert.deepEqual(Buffer.from(await sound.arrayBuffer()), expected);
assert.equal(sound.headers.get('content-type'), 'audio/mpeg');
done('speech', `${expected.length} bytes, charged ${sound.headers.get('x-credits-used')}`);

let [heard, chunks] = [Buffer.alloc(0), 0];
for await (const chunk of (await client.audio.speech.create(spoken)).body) {
  heard = Buffer.concat([heard, chunk]);
  chunks += 1;
}
assert.deepEqual(heard, expected);
assert.ok(chunks > 1);
done('speech, streamed', `${heard.length} bytes in more than one piece`);

const hear = (prompt, response_format, more = {}) => client.audio.transcriptions
  .create({ model: 'auto', file: createReadStream(RECORDING), prompt, response_format, ...more });
assert.equal((await hear('sdk-json', 'json')).text, 'What was said.');
const verbose = await hear('sdk-verbose', 'verbose_json', { timestamp_granularities: ['segment'] });
assert.deepEqual([verbose.duration, verbose.segments[0].end], [1.5, 1.5]);
assert.equal(await hear('sdk-text', 'text'), 'What was said.\n');
done('transcripts', 'json, verbose_json and text');

const ask = (client, more = {}) => () => client.chat.completions.create({ model: 'auto', messages: user('sdk-none'), ...more });
const once = (apiKey) => new OpenAI({ baseURL, apiKey, maxRetries: 0 });
await fails('unknown model', OpenAI.NotFoundError, 404, 'model_not_found', ask(client, { model: 'gpt-99' }));
await fails('wrong parameter', OpenAI.BadRequestError, 400, 'invalid_field', ask(client, { n: 99 }));
await fails('wrong voice', OpenAI.BadRequestError, 400, 'invalid_field', () => client.audio.speech.create({ ...spoken, voice: '' }));
await fails('wrong key', OpenAI.AuthenticationError, 401, 'token_invalid', ask(once('sk-nonsense')));
await fails('no credit', OpenAI.APIError, 402, 'insufficient_credits', ask(once(POOR_KEY)));
const slow = once(SLOW_KEY);
await ask(slow)();
await ask(slow)();
const limited = await fails('too fast', OpenAI.RateLimitError, 429, 'rate_limited', ask(slow));
assert.ok(Number(limited.headers.get('retry-after')) >= 1);
