// Stands in for Workers AI in local runs: the same `run(model, inputs, { signal })` and the same shapes of answer, made by the
// engine at ENGINE_URL. Whatever model is asked for, that engine's one model answers.
import { WorkerEntrypoint } from 'cloudflare:workers';

export class Ai extends WorkerEntrypoint {
  async run(model, inputs, options) {
    if (!this.env.ENGINE_URL) throw new Error('AiError: 3007: no local engine is configured');
    const signal = options?.signal;
    if (model.includes('/deepgram/aura')) return this.#speech(inputs, options);
    if (model.includes('/whisper')) return asWhisper(await this.#transcript(Uint8Array.fromBase64(inputs.audio), inputs));
    if (model.includes('/deepgram/nova')) {
      const { body, contentType } = inputs.audio;
      return asNova(await this.#transcript(await new Response(body).arrayBuffer(), inputs, contentType));
    }
    if (inputs.text !== undefined) return this.#embeddings(inputs.text, signal);
    const messages = inputs.messages ?? [{ role: 'user', content: String(inputs.prompt ?? '') }];
    const body = { messages, stream: inputs.stream === true };
    for (const name of ['max_tokens', 'temperature', 'top_p', 'seed']) {
      if (inputs[name] !== undefined && inputs[name] !== null) body[name] = inputs[name];
    }
    if (body.stream) body.stream_options = { include_usage: true };
    const response = await fetch(`${this.env.ENGINE_URL}/chat/completions`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), signal,
    });
    if (!response.ok) {
      const text = (await response.text()).slice(0, 500);
      throw new Error(`AiError: ${response.status}: ${text}`);
    }
    if (!body.stream) {
      const answer = await response.json();
      return { response: answer.choices[0].message.content, usage: answer.usage };
    }
    return response.body.pipeThrough(new TextDecoderStream()).pipeThrough(asWorkersAi()).pipeThrough(new TextEncoderStream());
  }

  async #speech({ text, speaker, encoding, container }, options) {
    if (!options?.returnRawResponse) throw new Error('AiError: only the raw response is here');
    const format = encoding === 'linear16' ? (container === 'wav' ? 'wav' : 'pcm') : (encoding ?? 'mp3');
    const response = await fetch(`${this.env.ENGINE_URL}/audio/speech`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ input: text, voice: speaker ?? 'angus', response_format: format }),
    });
    if (!response.ok) throw new Error(`AiError: ${response.status}`);
    return response;
  }

  async #transcript(bytes, { language, initial_prompt: prompt }, type = 'application/octet-stream') {
    const form = new FormData();
    form.append('file', new Blob([bytes], { type }), 'audio.bin');
    form.append('response_format', 'verbose_json');
    if (language) form.append('language', language);
    if (prompt) form.append('prompt', prompt);
    const response = await fetch(`${this.env.ENGINE_URL}/audio/transcriptions`, { method: 'POST', body: form });
    if (!response.ok) throw new Error(`AiError: ${response.status}`);
    return response.json();
  }

  async #embeddings(text, signal) {
    const response = await fetch(`${this.env.ENGINE_URL}/embeddings`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ input: text }), signal,
    });
    if (!response.ok) throw new Error(`AiError: ${response.status}`);
    const data = (await response.json()).data.map(({ embedding }) => embedding);
    return { shape: [data.length, data[0]?.length ?? 0], data };
  }
}

const asWhisper = ({ text, duration, language, segments }) => (
  { text, word_count: text.split(' ').length, segments, transcription_info: { duration, language } }
);

const asNova = ({ text, words }) => (
  { results: { channels: [{ alternatives: [{ transcript: text, words: words ?? [] }] }] } }
);

// Chat-completion chunks in; out go one `{"response":"piece"}` for each, a last one with the usage, and the end mark.
function asWorkersAi() {
  let rest = '';
  return new TransformStream({
    transform(text, controller) {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith('data:')) continue;
        const data = line.slice(5).trim();
        if (data === '[DONE]') { controller.enqueue('data: [DONE]\n\n'); continue; }
        const chunk = JSON.parse(data);
        const piece = chunk.choices?.[0]?.delta?.content;
        if (piece) controller.enqueue(`data: ${JSON.stringify({ response: piece })}\n\n`);
        if (chunk.usage) controller.enqueue(`data: ${JSON.stringify({ response: '', usage: chunk.usage })}\n\n`);
      }
    },
  });
}

export default {
  fetch() { return new Response('This Worker answers through its entrypoint Ai only.\n', { status: 404 }); },
};
