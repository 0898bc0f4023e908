// Cookies and cross-origin rules as a real browser applies them: what our page can do, and what a stranger's cannot.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { GAP_MS, PIECES, startStack } from './stack.mjs';

const HOST_COOKIE = '__Host-cog_auth_jwt';
const JSON_TYPE = { 'Content-Type': 'application/json' };
// Every header that a page may read beside those that every page may.
const BILLING = ['x-credits-used', 'x-credits-balance', 'x-tokens-in', 'x-tokens-out', 'x-provider', 'x-model', 'x-intelligence-tier'];
const ALWAYS = ['x-request-id', 'ratelimit', 'ratelimit-policy'];

let stack;
const open = {};
before(async () => {
  stack = await startStack();
  for (const [name, origin] of Object.entries(stack.origins)) {
    open[name] = await stack.context.newPage();
    await open[name].goto(origin);
  }
});
after(() => stack?.stop());
beforeEach(() => stack.context.clearCookies());

// A page that never answers must fail its test, and not hold up the run.
const BOUND_MS = 10_000;
function bounded(what, work) {
  let timer;
  const late = new Promise((_, failed) => { timer = setTimeout(() => failed(new Error(`${what}: no end after ${BOUND_MS} ms`)), BOUND_MS); });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

// A request as a page makes it: what its script can see of the answer, or that it can see nothing.
const call = (page, path, init = {}) => bounded(`${init.method ?? 'GET'} ${path}`, page.evaluate(async ([url, options]) => {
  try {
    const response = await fetch(url, { credentials: 'include', ...options });
    const text = await response.text();
    return { status: response.status, headers: Object.fromEntries(response.headers), text, type: response.type };
  } catch (error) { return { blocked: error.name }; }
}, [`${stack.api}${path}`, init]));
const post = (page, path, body, headers = {}) =>
  call(page, path, { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body: JSON.stringify(body) });
const json = ({ text }) => JSON.parse(text);
const cookies = async () => Object.fromEntries((await stack.context.cookies(stack.api)).map((cookie) => [cookie.name, cookie]));

async function tokenOf(email) {
  const response = await fetch(`${stack.api}/api/admin/tokens`, {
    method: 'POST', headers: { ...JSON_TYPE, 'X-Admin-Key': stack.adminKey }, body: JSON.stringify({ email }),
  });
  return (await response.json()).token;
}
async function grant(email) {
  const response = await fetch(`${stack.api}/api/credits/adjust`, {
    method: 'POST', headers: { ...JSON_TYPE, 'X-Admin-Key': stack.adminKey }, body: JSON.stringify({ email, set: 5 }),
  });
  assert.equal(response.status, 200);
}
// Our page, signed in by cookie as a user with credit.
async function signIn(email) {
  await grant(email);
  const answer = await post(open.app, '/auth/cookie', {}, { Authorization: `Bearer ${await tokenOf(email)}` });
  assert.equal(answer.status, 200, answer.text);
}
const whoAmI = async () => json(await call(open.app, '/api/credits')).email;
// What the Worker answered to what a page sent, whether the page could read it or not: status and code.
async function answered(route, send) {
  const from = stack.requests.length;
  await send();
  for (let waited_ms = 0; waited_ms < 5_000; waited_ms += 20) {
    const found = stack.requests.slice(from).find((request) => request.route === route);
    if (found) return [found.status, found.error ?? null];
    await new Promise((done) => setTimeout(done, 20));
  }
  return assert.fail(`${route} was never asked`);
}

describe('our page', () => {
  test('is given a cookie that no script can read, and is known by it', async () => {
    const guest = await post(open.app, '/auth/guest', { cookie: true });
    assert.deepEqual([guest.status, json(guest).cookie, json(guest).token], [200, HOST_COOKIE, undefined]);
    const { [HOST_COOKIE]: cookie } = await cookies();
    assert.deepEqual(
      [cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path, cookie.domain],
      [true, true, 'Strict', '/', 'localhost'],
    );
    assert.ok(Math.abs(cookie.expires - json(guest).exp) <= 5, 'it ends with its token');
    assert.equal(await open.app.evaluate(() => document.cookie), '');
    assert.match(await whoAmI(), /^guest:/);
    assert.equal(json(await call(open.app, '/api/credits', { credentials: 'omit' })).error, 'missing_email');
  });

  test('is a user by cookie, spends, reads every billing header, and logs out', async () => {
    await signIn('reads@x.io');
    assert.equal(await whoAmI(), 'reads@x.io');
    const asked = await post(open.app, '/api/si/ask', { input: 'hello' }, { 'X-Intelligence-Tier': 'standard' });
    assert.equal(json(asked).result.content, PIECES.join(''));
    for (const name of [...ALWAYS, ...BILLING]) assert.ok(asked.headers[name], `${name} cannot be read`);
    assert.match(asked.headers['x-credits-used'], /^\d+\.\d{3}$/);
    const out = await post(open.app, '/auth/logout', {});
    assert.deepEqual([out.status, json(out).ok, await cookies()], [200, true, {}]);
    assert.equal(json(await call(open.app, '/api/credits')).error, 'missing_email');
  });

  test('may send other methods and headers of its own: the preflight lets them by', async () => {
    await signIn('methods@x.io');
    const headers = { ...JSON_TYPE, 'Idempotency-Key': 'k-1', 'X-Intelligence-Tier': 'standard', 'X-Trace-Of-Mine': '7' };
    for (const [method, path, status, code] of [
      ['PUT', '/api/credits/limits', 401, 'unauthorized'],
      ['DELETE', '/api/keys/none-of-mine', 404, 'not_found'],
      ['PATCH', '/api/jobs/abc', 404, 'not_found'],
      ['GET', '/nowhere', 404, 'not_found'],
      ['DELETE', '/api/credits', 405, 'method_not_allowed'],
    ]) {
      const body = method === 'GET' ? {} : { body: '{}' };
      const answer = await call(open.app, path, { method, headers, ...body });
      assert.deepEqual([answer.status, json(answer).error], [status, code], `${method} ${path}`);
      assert.equal(answer.headers['x-request-id'], json(answer).request_id);
    }
    const made = await post(open.app, '/api/keys', { name: 'from a page' });
    const ended = await call(open.app, `/api/keys/${json(made).id}`, { method: 'DELETE' });
    assert.equal(json(ended).state, 'ended');
  });

  test('reads a stream piece by piece', async () => {
    await signIn('streams@x.io');
    const seen = await open.app.evaluate(async ([url]) => {
      const response = await fetch(url, {
        method: 'POST', credentials: 'include', body: JSON.stringify({ input: 'hello' }),
        headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream' },
      });
      const chunks = [];
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        chunks.push([performance.now(), value]);
      }
      return { status: response.status, headers: Object.fromEntries(response.headers), chunks };
    }, [`${stack.api}/api/si/ask`]);
    assert.equal(seen.status, 200);
    const text = seen.chunks.map(([, chunk]) => chunk).join('');
    const pieces = [...text.matchAll(/^data: (.*)$/gm)].map(([, piece]) => piece);
    assert.deepEqual(pieces, PIECES);
    assert.match(text, /^: usage \{.*"credits_used"/m);
    assert.match(text, /^: done$/m);
    const took = seen.chunks.at(-1)[0] - seen.chunks[0][0];
    assert.ok(took > GAP_MS * (PIECES.length - 2), `all of it came within ${took} ms`);
    for (const name of [...ALWAYS, 'content-type', 'x-provider', 'x-model', 'x-credits-held', 'x-credits-balance']) {
      assert.ok(seen.headers[name], `${name} cannot be read`);
    }
    assert.equal(seen.headers['x-accel-buffering'], undefined, 'what is not exposed is not read');
  });
});

// A frame without an origin, as a sandbox or a file makes one, that does the same and tells the page.
async function fromNowhere(path, init) {
  return bounded(`${path} from nowhere`, open.app.evaluate(([url, options]) => new Promise((done) => {
    const frame = document.createElement('iframe');
    frame.sandbox = 'allow-scripts';
    frame.srcdoc = `<script>fetch(${JSON.stringify(url)}, ${JSON.stringify({ credentials: 'include', ...options })})
      .then((r) => parent.postMessage({ status: r.status, type: r.type, origin }, '*'), (e) => parent.postMessage({ blocked: e.name, origin }, '*'))</script>`;
    addEventListener('message', ({ data }) => { frame.remove(); done(data); }, { once: true });
    document.body.append(frame);
  }), [`${stack.api}${path}`, init]));
}

describe('a stranger\'s page', () => {
  test('reads nothing, with a cookie or without', async () => {
    await signIn('victim@x.io');
    for (const page of [open.sameSite, open.crossSite]) {
      for (const [path, init] of [
        ['/api/credits', {}],
        ['/api/credits', { credentials: 'omit' }],
        ['/healthz', { credentials: 'omit' }],
        ['/nowhere', {}],
        ['/.well-known/jwks.json', {}],
      ]) {
        assert.deepEqual(await call(page, path, init), { blocked: 'TypeError' }, `${path} from ${page.url()}`);
      }
    }
    // It can send a plain request and not read the answer; of another site not even the cookie goes along.
    const read = (page) => answered('/api/credits', () => call(page, '/api/credits', { mode: 'no-cors' }));
    assert.deepEqual(await read(open.sameSite), [200, null]);
    assert.deepEqual(await read(open.crossSite), [400, 'missing_email']);
    assert.deepEqual(await fromNowhere('/api/credits', {}), { blocked: 'TypeError', origin: 'null' });
  });

  test('spends nothing', async () => {
    await signIn('victim@x.io');
    const before = stack.provider.calls;
    const plain = { method: 'POST', mode: 'no-cors', body: '{"input":"spend"}' };
    // Without a preflight, from the same site, with the victim's cookie: only the Origin tells.
    const ask = (page) => answered('/api/si/ask', () => call(page, '/api/si/ask', plain));
    assert.deepEqual(await ask(open.sameSite), [403, 'origin_forbidden']);
    assert.deepEqual(await ask(open.crossSite), [400, 'missing_email']);
    const [status] = await answered('/api/si/ask', () => fromNowhere('/api/si/ask', plain));
    assert.ok(status === 400 || status === 403, `${status}`);
    // With one, the browser asks whether it may, and then sends nothing.
    const from = stack.requests.length;
    for (const page of [open.sameSite, open.crossSite]) {
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
        const answer = await call(page, '/api/si/ask', { method, headers: JSON_TYPE, body: '{"input":"spend"}' });
        assert.deepEqual(answer, { blocked: 'TypeError' });
      }
    }
    const sent = new Set(stack.requests.slice(from).map((request) => request.route));
    assert.deepEqual([...sent], ['preflight']);
    assert.equal(stack.provider.calls, before);
    assert.equal(json(await call(open.app, '/api/credits')).balance, 5);
  });

  test('signs nobody in and nobody out, by a form either', async () => {
    await signIn('victim@x.io');
    for (const [name, page] of [['sameSite', open.sameSite], ['crossSite', open.crossSite]]) {
      for (const path of ['/auth/logout', '/auth/guest', '/auth/cookie']) {
        const origin = stack.origins[name];
        await page.goto(origin);
        // The one way to post JSON with a form.
        await bounded('the form', page.evaluate((action) => {
          document.body.innerHTML = `<form method="post" enctype="text/plain" action="${action}"><input name='{"cookie":true,"x":"' value='"}'><button></button></form>`;
        }, `${stack.api}${path}`));
        const submit = () => page.click('button');
        const [status, code] = await answered(path, submit);
        // A body that is not said to be JSON asks for nothing; there is a guest the more, and no cookie.
        const expected = path === '/auth/guest' ? [200, null] : [403, 'origin_forbidden'];
        assert.deepEqual([status, code], expected, `${path} from ${origin}`);
        await page.waitForURL(`${stack.api}${path}`);
        assert.equal(await whoAmI(), 'victim@x.io');
        await page.goto(origin);
      }
    }
  });

  test('of a neighbour sets a cookie of the plain name, and ours counts', async () => {
    await signIn('victim@x.io');
    const theirs = `cog_auth_jwt=${await tokenOf('attacker@x.io')}; Path=/`;
    await open.sameSite.goto(`${stack.origins.sameSite}/?cookie=${encodeURIComponent(theirs)}`);
    assert.deepEqual(Object.keys(await cookies()).sort(), [HOST_COOKIE, 'cog_auth_jwt'].sort());
    assert.equal(await whoAmI(), 'victim@x.io');
    // For a wider domain the browser does not take the other name.
    const wide = `${HOST_COOKIE}=stolen; Path=/; Secure; Domain=localhost`;
    await open.sameSite.goto(`${stack.origins.sameSite}/?cookie=${encodeURIComponent(wide)}`);
    assert.equal(await whoAmI(), 'victim@x.io');
  });
});

// Last, because it uses up what this address may have.
describe('our page, too often', () => {
  test('reads when to come back', async () => {
    let answer;
    for (let n = 0; n < 40; n += 1) {
      answer = await post(open.app, '/auth/guest', {});
      if (answer.status !== 200) break;
    }
    assert.deepEqual([answer.status, json(answer).error], [429, 'rate_limited']);
    assert.ok(Number(answer.headers['retry-after']) >= 1 && answer.headers.ratelimit.startsWith('"guest-tokens"'));
  });
});
