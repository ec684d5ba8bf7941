// A small authorization server on oidc-provider, with Zoom's paths and Zoom's manners.
//
//     node oidc_provider.mjs CLIENT_ID CLIENT_SECRET REDIRECT_URI
//
// Run from a folder in which oidc-provider is installed. Prints its URL, then serves until its input ends.

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [clientId, clientSecret, redirectUri] = process.argv.slice(2);
const installed = createRequire(join(process.cwd(), 'package.json'));
const { Provider } = await import(pathToFileURL(installed.resolve('oidc-provider')));

const SCOPE = 'meeting:read user:read';
const HOUR = 3600;

const server = createServer();
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
const url = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(url, {
  clients: [{
    client_id: clientId,
    client_secret: clientSecret,
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: [
      'client_credentials', 'authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code',
    ],
    response_types: ['code'],
    redirect_uris: [redirectUri],
    scope: SCOPE,
  }],
  scopes: SCOPE.split(' '),
  cookies: { keys: [randomBytes(32).toString('hex')] },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: true }, // pages that take any name and password
  },
  routes: {
    authorization: '/oauth/authorize',
    token: '/oauth/token',
    revocation: '/oauth/revoke',
    introspection: '/oauth/introspect',
    device_authorization: '/oauth/devicecode',
    code_verification: '/oauth/device',
  },
  // As at Zoom: what an app may do is on its page, the request does not name it.
  extraParams: { scopes_of_the_app(ctx) { ctx.oidc.params.scope ||= SCOPE; } },
  pkce: { required: () => true },
  // As at Zoom: there is always a refresh token, each works once, and one that comes back ends the grant.
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  ttl: {
    AccessToken: HOUR,
    AuthorizationCode: 60,
    ClientCredentials: HOUR,
    DeviceCode: 600,
    Grant: 24 * HOUR,
    Interaction: HOUR,
    RefreshToken: 24 * HOUR,
    Session: HOUR,
  },
});

server.on('request', provider.callback());
console.log(url);

// Whoever started this may end without a chance to say so.
process.stdin.resume();
process.stdin.on('end', () => process.exit());
