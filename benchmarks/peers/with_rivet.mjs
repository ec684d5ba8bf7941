// Hands out what @zoom/rivet sends as a bearer: a number on each line of the input, [number, bearer, error] back.
//
// Run from a folder in which it is installed, with what to log in with as JSON. The client knows no address but Zoom's,
// and sends by axios: its interceptors lead token requests to the endpoint, and keep the calls of the API at home.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const installed = createRequire(join(process.cwd(), 'package.json'));
const axios = installed('axios');
const { UsersOAuthClient, UsersS2SAuthClient } = installed('@zoom/rivet/users');

const login = JSON.parse(process.argv[2]);
const app = { clientId: login.client_id, clientSecret: login.client_secret, webhooksSecretToken: 'of-no-use-here' };

const echo = async (config) => ({ data: config.headers.Authorization, status: 200, headers: {}, config });
axios.interceptors.request.use((config) =>
  config.url === 'https://zoom.us/oauth/token' ? { ...config, url: login.token_url } : { ...config, adapter: echo },
);

let kept = {
  accessToken: login.access_token,
  refreshToken: login.refresh_token,
  expirationTimeIso: new Date(0).toISOString(),
  scopes: [],
};
const tokenStore = { getLatestToken: () => kept, storeToken: (token) => { kept = token; } };
const installerOptions = { redirectUri: 'http://127.0.0.1:8080', stateStore: 'signs-the-state' };
const client = login.grant === 'refresh_token'
  ? new UsersOAuthClient({ ...app, installerOptions, tokenStore })
  : new UsersS2SAuthClient({ ...app, accountId: login.account_id });

for await (const number of createInterface({ input: process.stdin })) {
  client.endpoints.users.listUsers({}).then(
    ({ data }) => console.log(JSON.stringify([Number(number), data, null])),
    (error) => console.log(JSON.stringify([Number(number), null, error.message])),
  );
}
