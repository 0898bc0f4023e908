// The least that a gateway can be on this runtime: no account, no key but one, no log.
//
//   POST /raw/v1/chat/completions   the request and its answer go through as they are
//   POST /v1/chat/completions       both are parsed, and the tokens used are summed
//   POST /read/v1/chat/completions  a stream is read chunk by chunk and event by event on its way, and then passed on
let tokens = 0;

// Each chunk goes on as it came, once every event in it was parsed: what a gateway must do that counts what it passes on.
async function readOnTheWay(from, to) {
  const writer = to.getWriter();
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of from) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith('data: {')) tokens += JSON.parse(line.slice('data: '.length)).usage?.total_tokens ?? 0;
    }
    await writer.write(chunk);
  }
  await writer.close();
}

export default {
  async fetch(request, env, context) {
    const upstream = `${env.UPSTREAM}/chat/completions`;
    if (new URL(request.url).pathname.startsWith('/read/')) {
      const answer = await fetch(upstream, request);
      const { readable, writable } = new IdentityTransformStream();
      context.waitUntil(readOnTheWay(answer.body, writable));
      return new Response(readable, answer);
    }
    if (new URL(request.url).pathname.startsWith('/raw/')) return fetch(upstream, request);
    if (request.headers.get('authorization') !== 'Bearer sk-benchmark') return new Response('no', { status: 401 });
    const body = await request.json();
    const answer = await fetch(upstream, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer sk-benchmark' },
      body: JSON.stringify(body),
    });
    const whole = await answer.json();
    tokens += whole.usage.total_tokens;
    return Response.json(whole);
  },
};
