// The least that a gateway can be on this runtime: no account, no key but one, no log.
//
//   POST /raw/v1/chat/completions   the request and its answer go through as they are
//   POST /v1/chat/completions       both are parsed, and the tokens used are summed
let tokens = 0;

export default {
  async fetch(request, env) {
    const upstream = `${env.UPSTREAM}/chat/completions`;
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
