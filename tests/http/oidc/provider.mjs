// An OpenID provider on the loopback, the npm package oidc-provider: the tests of POST /auth/exchange sign in there.
//
// Prints {"ready":true,"issuer":"http://127.0.0.1:N"}. Whoever comes with a login_hint is signed in as that address; it
// is verified unless it begins with "unverified". Lines on stdin:
//   {"rotate":"KID","keep":true}   signs with a new key from now on, and publishes the old ones too or not
//   {"reads":true}                 how often the key set was read: {"reads":N}
// Ends at the end of stdin.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Provider } from 'oidc-provider';

const HOST = '127.0.0.1';
// stdout carries the lines that a program reads.
console.log = console.info = console.warn = console.error;
const ID_TOKEN_TTL_S = 300;
const REDIRECT = 'https://app.example/callback';
const client = (client_id, more = {}) => ({
  client_id,
  redirect_uris: [REDIRECT],
  grant_types: ['authorization_code'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
  ...more,
});
const clients = [
  client('our-app'),
  client('another-app'),
  client('brief-app'),
  client('hmac-app', {
    client_secret: 'a-secret-of-this-client-for-hmac-signatures',
    id_token_signed_response_alg: 'HS256',
    token_endpoint_auth_method: 'client_secret_post',
  }),
];

const makeKey = (kid) => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256',
});
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

let issuer;
let provider;
let handle;
let reads = 0;
let keys = [makeKey('first')];

function configure() {
  provider = new Provider(issuer, {
    clients,
    jwks: { keys },
    cookies: { keys: ['for-this-run-only'] },
    conformIdTokenClaims: false, // the address is in the ID token, as large providers have it
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'HS256'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_context, { uid }) => `/login/${uid}` },
    ttl: { IdToken: (_context, _token, { clientId }) => (clientId === 'brief-app' ? 1 : ID_TOKEN_TTL_S) },
    findAccount: (_context, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: id, email_verified: !id.startsWith('unverified') }),
    }),
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope('openid email');
      await grant.save();
      return grant;
    },
  });
  handle = provider.callback();
}

const server = createServer(async (request, response) => {
  if (request.url === '/jwks') reads += 1;
  if (!request.url.startsWith('/login/')) return handle(request, response);
  try {
    const { params } = await provider.interactionDetails(request, response);
    return await provider.interactionFinished(request, response, { login: { accountId: params.login_hint } });
  } catch (error) {
    return response.writeHead(500).end(error.message);
  }
});
server.listen(0, HOST, () => {
  issuer = `http://${HOST}:${server.address().port}`;
  configure();
  say({ ready: true, issuer });
});

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line);
    if (command.rotate) {
      keys = [makeKey(command.rotate), ...(command.keep ? keys : [])];
      configure();
      say({ rotated: command.rotate });
    } else say({ reads });
  })
  .on('close', () => process.exit(0));
