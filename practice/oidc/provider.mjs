// A real OpenID provider (npm `oidc-provider`) on loopback, for the practice stage.
//
// usage: node provider.mjs PLAN.json
//
// The plan: { "port": 0, "client": { "id", "secret", "redirects": [..] },
//             "people": { "NAME": { "email", "groups": [..] } } }
// It prints one line of JSON when it listens: { "issuer": "http://127.0.0.1:PORT" }.
//
// Who signs in types their name; any password will do, because nobody's password is tested here.
// Everything else is the provider's own: PKCE, state, nonce, codes that work once, the device flow,
// signed id tokens, discovery.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const server = createServer();
await new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(plan.port ?? 0, '127.0.0.1', resolve);
});
const issuer = `http://127.0.0.1:${server.address().port}`;

const device = 'urn:ietf:params:oauth:grant-type:device_code';
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: plan.client.id,
      client_secret: plan.client.secret,
      redirect_uris: plan.client.redirects,
      grant_types: ['authorization_code', device],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  async findAccount(_ctx, name) {
    const person = plan.people[name];
    if (!person) return undefined;
    return {
      accountId: name,
      async claims() {
        return { sub: name, name, email: person.email, email_verified: true, groups: person.groups };
      },
    };
  },
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'email', 'groups'],
  // Claims in the id token itself, as most companies' providers are set up.
  conformIdTokenClaims: false,
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
  },
  pkce: { required: () => true },
  cookies: { keys: ['practice'] },
  ttl: { Session: 3600, Grant: 3600, Interaction: 600, IdToken: 300, AccessToken: 300, DeviceCode: 600 },
});

server.on('request', provider.callback());
process.stdout.write(`${JSON.stringify({ issuer })}\n`);
// Whoever started us closes our input when they go.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
