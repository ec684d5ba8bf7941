// Uses @zoom/rivet as its documentation says.
//
//     node with_rivet.mjs server|person|bot
//
// Run from a folder in which it is installed. Credentials come in variables; PERSON is a command that takes a URL.

import { exec } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';

const installed = createRequire(join(process.cwd(), 'package.json'));
const { UsersOAuthClient, UsersS2SAuthClient } = installed('@zoom/rivet/users');
const { ApiResponseError, ChatbotClient } = installed('@zoom/rivet/chatbot');

const { ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID, ZOOM_CLIENT_SECRET, PERSON } = process.env;
const app = { clientId: ZOOM_CLIENT_ID, clientSecret: ZOOM_CLIENT_SECRET, webhooksSecretToken: 'of-no-use-here' };

async function twice(client) {
  const seen = [];
  for (let call = 0; call < 2; call += 1) {
    const { data } = await client.endpoints.users.listUsers({});
    seen.push(data.users.map((user) => user.id));
  }
  return seen;
}

async function asServer() {
  return twice(new UsersS2SAuthClient({ ...app, accountId: ZOOM_ACCOUNT_ID }));
}

async function asPerson() {
  const installerOptions = { redirectUri: 'http://127.0.0.1:8080', stateStore: 'signs-the-state', directInstall: true };
  const client = new UsersOAuthClient({ ...app, installerOptions });
  const server = await client.start();
  await promisify(exec)(`${PERSON} http://127.0.0.1:8080/zoom/oauth/install`);
  server.close();
  server.closeAllConnections();
  return twice(client);
}

async function asBot() {
  let kept;
  const tokenStore = { getLatestToken: () => kept, storeToken: (token) => { kept = token; } };
  const client = new ChatbotClient({ ...app, tokenStore });
  try {
    await client.endpoints.messages.sendChatbotMessage({ body: {} });
  } catch (error) {
    if (!(error instanceof ApiResponseError)) throw error; // the sandbox has no chat
  }
  return kept;
}

const roles = { server: asServer, person: asPerson, bot: asBot };
console.log(JSON.stringify(await roles[process.argv[2]]()));
