// openid-client gets a token, calls the API through the gateway, revokes the token at the gateway's
// revocation endpoint (RFC 7009), and calls once more.
import assert from 'node:assert/strict';

import * as oauth from 'openid-client';

import { challengesOf, CLIENT, discover, tokenParameters } from './openid.mjs';
import { readOptions, REQUIRED, report } from './script.mjs';

const given = readOptions({
  ...CLIENT,
  revocation_path: REQUIRED,
});

report('openid-client token revocation', async () => {
  const config = await discover(given);
  const { access_token: token } = await oauth.clientCredentialsGrant(config, tokenParameters(given));
  const call = () => oauth.fetchProtectedResource(config, token, new URL(given.path, given.gateway), 'GET');
  assert.equal((await call()).status, 200);

  // What an operator publishes: the gateway's address in the place of the server's own.
  const server = { ...config.serverMetadata(), revocation_endpoint: given.gateway + given.revocation_path };
  const through = new oauth.Configuration(server, given.client_id, undefined, oauth.ClientSecretBasic(given.client_secret));
  oauth.allowInsecureRequests(through);
  await oauth.tokenRevocation(through, token, { token_type_hint: 'access_token' });

  const refused = await challengesOf(call());
  assert.equal(refused.status, 401);
  await oauth.tokenRevocation(through, token); // RFC 7009 section 2.2: a token that is gone is done
  return { refused };
});
