// What knowing a caller costs in JavaScript on this runtime, with WebCrypto and a key made once, and nothing beside it.
//
//   GET  /token   a token
//   POST /sign    signs one token's worth of bytes and says so
//   GET  /auth    a request whose Bearer token is parsed, verified and judged
const RS256 = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
const LIFE_S = 86_400;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const toBase64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
const fromBase64 = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')),
  (character) => character.charCodeAt(0));
const part = (object) => toBase64(encoder.encode(JSON.stringify(object)));

let keys;
async function keyPair() {
  keys ??= await crypto.subtle.generateKey(
    { ...RS256, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }, false, ['sign', 'verify']);
  return keys;
}

async function token() {
  const { privateKey } = await keyPair();
  const now = Math.floor(Date.now() / 1000);
  const claims = { iat: now, exp: now + LIFE_S, iss: 'https://api.cognomega.com', sub: `guest:${crypto.randomUUID()}`, role: 'guest' };
  const signed = `${part({ alg: 'RS256', typ: 'JWT', kid: 'k1' })}.${part(claims)}`;
  return `${signed}.${toBase64(await crypto.subtle.sign(RS256, privateKey, encoder.encode(signed)))}`;
}

// About as long as what is signed of a guest's token.
const MESSAGE = encoder.encode('x'.repeat(240));

async function subject(authorization) {
  const [header, claims, signature] = authorization.slice('Bearer '.length).split('.');
  const { alg } = JSON.parse(decoder.decode(fromBase64(header)));
  const { exp, sub } = JSON.parse(decoder.decode(fromBase64(claims)));
  if (alg !== 'RS256' || exp * 1000 < Date.now()) return undefined;
  const { publicKey } = await keyPair();
  const good = await crypto.subtle.verify(RS256, publicKey, fromBase64(signature), encoder.encode(`${header}.${claims}`));
  return good ? sub : undefined;
}

export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === '/token') return Response.json({ token: await token() });
    if (pathname === '/sign') {
      await crypto.subtle.sign(RS256, (await keyPair()).privateKey, MESSAGE);
      return new Response('signed');
    }
    const sub = await subject(request.headers.get('authorization') ?? '');
    return new Response(sub ?? 'no', { status: sub ? 200 : 401 });
  },
};
