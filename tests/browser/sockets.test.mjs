// WebSockets as a real browser opens them: our page with a ticket or its cookie, and a stranger's page with neither.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startStack } from './stack.mjs';

const EMAIL = 'listens@x.io';
const JSON_TYPE = { 'Content-Type': 'application/json' };
const BOUND_MS = 10_000;

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

const operator = (path, body) => fetch(`${stack.api}${path}`, {
  method: 'POST', headers: { ...JSON_TYPE, 'X-Admin-Key': stack.adminKey }, body: JSON.stringify(body),
}).then((response) => response.json());

// Our page asks for a ticket, with its cookie.
const ticket = () => open.app.evaluate(async ([api]) => {
  const headers = { 'Content-Type': 'application/json' };
  const body = JSON.stringify({ purpose: 'events' });
  const made = await fetch(`${api}/api/tickets`, { method: 'POST', credentials: 'include', headers, body });
  return made.json();
}, [stack.api]);

// Opens a socket as a page does: what came first, or the code that it was closed with.
const listen = (page, url, protocols) => page.evaluate(([address, names, boundMs]) => new Promise((done, failed) => {
  const socket = new WebSocket(address, names);
  setTimeout(() => failed(new Error(`nothing within ${boundMs} ms`)), boundMs);
  socket.onmessage = ({ data }) => { done({ protocol: socket.protocol, first: JSON.parse(data) }); socket.close(); };
  socket.onclose = ({ code }) => done({ code });
}), [url, protocols, BOUND_MS]);

describe('a WebSocket', () => {
  test('opens for our page with a ticket, once, and for no other page', async () => {
    await operator('/api/credits/adjust', { email: EMAIL, set: 5 });
    const { token } = await operator('/api/admin/tokens', { email: EMAIL });
    await open.app.evaluate(([api, bearer]) => fetch(`${api}/auth/cookie`, {
      method: 'POST', credentials: 'include', headers: { Authorization: `Bearer ${bearer}` },
    }), [stack.api, token]);
    const made = await ticket();
    const protocols = [made.protocol, `cog.ticket.${made.ticket}`];
    for (const page of [open.sameSite, open.crossSite]) {
      assert.deepEqual(await listen(page, made.url, protocols), { code: 1006 }, 'a stranger who has the ticket');
      assert.deepEqual(await listen(page, made.url, [made.protocol]), { code: 1006 }, 'a stranger with the cookie');
    }
    const heard = await listen(open.app, made.url, protocols);
    assert.deepEqual(
      [heard.protocol, heard.first.type, heard.first.data.email, heard.first.data.balance],
      ['cog.events.v1', 'hello', EMAIL, 5],
    );
    assert.deepEqual(await listen(open.app, made.url, protocols), { code: 1006 }, 'the same ticket again');
    const cookie = await listen(open.app, made.url, ['cog.events.v1']);
    assert.equal(cookie.first.data.email, EMAIL, 'our page with its cookie');
    const seen = stack.requests.filter(({ route }) => route === '/api/events').map(({ status, error }) => error ?? status);
    const forbidden = 'origin_forbidden';
    assert.deepEqual(seen, [forbidden, forbidden, forbidden, forbidden, 101, 'ticket_invalid', 101]);
  });

  test('tells our page of a charge while it happens, and goes on where it was cut', async () => {
    const made = await ticket();
    const heard = await open.app.evaluate(async ([api, { url, protocol, ticket: shown }, boundMs]) => {
      const listenFrom = (address, names, count) => new Promise((done, failed) => {
        const seen = [];
        const socket = new WebSocket(address, names);
        setTimeout(() => failed(new Error(`${seen.length} of ${count} came`)), boundMs);
        socket.onmessage = ({ data }) => {
          seen.push(JSON.parse(data));
          if (seen.length === 1 && !address.includes('after')) {
            const body = JSON.stringify({ input: 'hello' });
            fetch(`${api}/api/si/ask`, { method: 'POST', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body });
          }
          if (seen.length === count) { socket.close(); done(seen); }
        };
      });
      const whole = await listenFrom(url, [protocol, `cog.ticket.${shown}`], 3);
      const rest = await listenFrom(`${url}?after=${whole[1].id}`, [protocol], 2);
      return { whole, rest };
    }, [stack.api, made, BOUND_MS]);
    assert.deepEqual(heard.whole.map(({ type }) => type).sort(), ['balance', 'hello', 'usage']);
    assert.deepEqual(heard.rest[1], heard.whole[2]);
  });
});
