// What a refusal costs on this runtime when nothing decides it: the same request is looked at, the same reply written,
// the same line logged. What the product takes beyond this is its own.
const BODY = JSON.stringify({
  error: 'rate_limited',
  message: "the budget 'requests' is used up; it allows 100 in 60 seconds",
  request_id: 'a0b1c2d3e4f5061728394a5b6c7d8e9f',
});
const INIT = JSON.stringify({
  status: 429,
  headers: {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    'retry-after': '37',
    'ratelimit-policy': '"requests";q=100;w=60',
    ratelimit: '"requests";r=0;t=37',
    vary: 'Origin',
    'x-content-type-options': 'nosniff',
    'access-control-expose-headers': 'X-Request-Id, Retry-After, RateLimit, RateLimit-Policy',
    'x-request-id': 'a0b1c2d3e4f5061728394a5b6c7d8e9f',
  },
});

export default {
  fetch(request) {
    const head = JSON.stringify([request.method, request.url, Object.fromEntries(request.headers)]);
    const line = { event: 'request', method: request.method, route: '/api/si/ask', status: 429, bytes: head.length };
    console.log(JSON.stringify(line));
    return new Response(BODY, JSON.parse(INIT));
  },
};
