// oauth4webapi's own parser reads what the gateway refuses with: a 401 or 403 whose WWW-Authenticate breaks the
// grammar of RFC 9110 section 11 gives no challenge here.
import assert from 'node:assert/strict';

import * as oauth from 'oauth4webapi';

import { readOptions, REQUIRED, report } from './script.mjs';

const given = readOptions({
  gateway: REQUIRED,
  path: '/orders/1',
  scope: 'orders:read', // what the path requires
  other_token: REQUIRED, // a good token without that scope
});
const url = new URL(given.path, given.gateway);

report('oauth4webapi challenges', async () => {
  const answers = {
    'no token': await bearerChallenge({}),
    'bad token': await bearerChallenge({ token: 'not-a-token' }),
    'wrong scope': await bearerChallenge({ token: given.other_token }),
    'token in the query': await bearerChallenge({ query: `access_token=${given.other_token}` }),
  };
  const seen = Object.entries(answers).map(([name, { status, parameters }]) => [name, status, parameters.error]);
  assert.deepEqual(seen, [
    ['no token', 401, undefined], // RFC 6750 section 3.1: no error code
    ['bad token', 401, 'invalid_token'],
    ['wrong scope', 403, 'insufficient_scope'],
    ['token in the query', 400, 'invalid_request'],
  ]);
  for (const name of ['no token', 'wrong scope']) assert.equal(answers[name].parameters.scope, given.scope, name);
  return { answers };
});

/** oauth4webapi throws every response that carries challenges; it always sends a token unless it is taken away. */
async function bearerChallenge({ token, query = '' }) {
  const target = new URL(url);
  target.search = query;
  const error = await oauth.protectedResourceRequest(token ?? 'none', 'GET', target, undefined, undefined, {
    [oauth.allowInsecureRequests]: true,
    [oauth.customFetch]: (input, { headers: { authorization, ...others }, ...init }) =>
      fetch(input, { ...init, headers: token ? { authorization, ...others } : others }),
  }).then(
    (response) => assert.fail(`status ${response.status} without a challenge that can be parsed`),
    (thrown) => thrown,
  );

  assert.ok(error instanceof oauth.WWWAuthenticateChallengeError, error);
  assert.match(error.response.headers.get('content-type') ?? '', /^application\/problem\+json/);
  assert.ok(error.response.headers.get('x-request-id'), 'x-request-id');
  const bearer = error.cause.find((challenge) => challenge.scheme === 'bearer');
  assert.ok(bearer, 'a Bearer challenge');
  return { status: error.status, schemes: error.cause.map(({ scheme }) => scheme), parameters: bearer.parameters };
}
