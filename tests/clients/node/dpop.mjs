// openid-client gets a token that is bound to its key (RFC 9449) and calls the API through the gateway
// with a proof for each call: it learns the nonce by itself. Without the key the token is refused.
import assert from 'node:assert/strict';

import * as oauth from 'openid-client';

import { challengesOf, CLIENT, discover, tokenParameters } from './openid.mjs';
import { readOptions, report } from './script.mjs';

const given = readOptions({
  ...CLIENT,
  algorithm: 'ES256',
});

report('openid-client with DPoP', async () => {
  const config = await discover(given);
  const handle = async () =>
    oauth.getDPoPHandle(config, await oauth.randomDPoPKeyPair(given.algorithm));
  const DPoP = await handle();
  const granted = await oauth.clientCredentialsGrant(config, tokenParameters(given), { DPoP });
  assert.equal(granted.token_type, 'dpop');
  const url = new URL(given.path, given.gateway);
  const call = (options) =>
    oauth.fetchProtectedResource(config, granted.access_token, url, 'GET', undefined, undefined, options);

  for (let calls = 0; calls < 3; calls += 1) {
    const response = await call({ DPoP });
    assert.equal(response.status, 200);
  }
  const refused = {
    'as bearer': await challengesOf(call()),
    'another key': await challengesOf(call({ DPoP: await handle() })),
  };
  for (const { status } of Object.values(refused)) assert.equal(status, 401);
  const schemes = refused['another key'].challenges.map(({ scheme }) => scheme);
  assert.deepEqual(schemes.toSorted(), ['bearer', 'dpop']);
  return { refused };
});
