// A regular web application: a server with sessions and a secret. openid-client gets the user's tokens by code and
// PKCE (RFC 6749 section 4.1, RFC 9700 section 2.1), the server alone keeps them and calls the API through the gateway.
// The person who uses it signs in at the authorization server's own pages.
//
// --resource should be one with opaque tokens: a gateway can learn only of those that they were revoked.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

import * as oauth from 'openid-client';

import { discover, refusalOf, tokenParameters } from './openid.mjs';
import { Person } from './person.mjs';
import { listen, readOptions, REQUIRED, report } from './script.mjs';

const given = readOptions({
  gateway: REQUIRED,
  issuer: REQUIRED,
  client_id: 'web',
  client_secret: 'web-secret',
  resource: '',
  scope: 'orders:read', // what reading asks for
  other_scope: 'orders:write', // and writing
  path: '/orders/1',
  foreign_path: '/foreign/1', // of another audience
  revocation_within_ms: '5000',
});
const COOKIE = 'session';

class WebApp {
  sessions = new Map(); // session id -> { sent, tokens, asked }
  #config;

  async start() {
    this.#config = await discover(given);
    const server = http.createServer((req, res) => this.#answer(req, res).catch((error) => {
      res.writeHead(500).end(`${error.name}: ${error.message}`);
    }));
    this.url = `http://127.0.0.1:${await listen(server)}`;
  }

  async #answer(req, res) {
    const id = /session=([^;]+)/.exec(req.headers.cookie ?? '')?.[1] ?? randomUUID();
    const session = this.sessions.get(id) ?? {};
    this.sessions.set(id, session);
    const go = (address) => res.writeHead(303, { location: address, 'set-cookie': `${COOKIE}=${id}; HttpOnly` }).end();

    const address = new URL(req.url, this.url);
    if (address.pathname === '/callback') return go(await this.#callback(session, address));
    if (!session.tokens) return go(await this.signIn(session, address.href, [given.scope, given.other_scope]));
    try {
      const method = address.pathname === '/write' ? 'POST' : 'GET';
      const response = await this.call(session.tokens.access_token, { method });
      return res.writeHead(response.status).end(await response.text());
    } catch (error) {
      // The one who can give what is missing is the user: asked once, and told if that was of no use.
      const missing = missingScope(error);
      if (!missing || session.asked === missing) throw error;
      session.asked = missing;
      const scopes = [...session.tokens.scope.split(' '), missing];
      return go(await this.signIn(session, address.href, scopes, { prompt: 'consent' }));
    }
  }

  /** Where to send the user, who shall come back to `goal`. */
  async signIn(session, goal, scopes, more = {}) {
    session.sent = {
      goal, verifier: oauth.randomPKCECodeVerifier(), state: oauth.randomState(), nonce: oauth.randomNonce(),
    };
    return oauth.buildAuthorizationUrl(this.#config, {
      ...tokenParameters({ scope: [...new Set(['openid', ...scopes])].join(' '), resource: given.resource }),
      redirect_uri: `${this.url}/callback`,
      code_challenge: await oauth.calculatePKCECodeChallenge(session.sent.verifier),
      code_challenge_method: 'S256',
      state: session.sent.state,
      nonce: session.sent.nonce,
      ...more,
    }).href;
  }

  async #callback(session, address) {
    const { goal, ...sent } = session.sent;
    session.tokens = await this.exchange(address, sent);
    return goal;
  }

  exchange(address, { verifier, state, nonce }) {
    return oauth.authorizationCodeGrant(this.#config, address, {
      pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true,
    });
  }

  refresh(token) {
    return oauth.refreshTokenGrant(this.#config, token);
  }

  call(token, { method = 'GET', path = given.path } = {}) {
    return oauth.fetchProtectedResource(this.#config, token, new URL(path, given.gateway), method);
  }
}

/** What a 403 of RFC 6750 section 3.1 asks for. */
function missingScope(error) {
  if (error.code !== 'OAUTH_WWW_AUTHENTICATE_CHALLENGE') return undefined;
  const challenge = error.cause.find(({ parameters }) => parameters.error === 'insufficient_scope');
  return challenge?.parameters.scope;
}

report('openid-client web application', async () => {
  const [app, person] = [new WebApp(), new Person()];
  await app.start();
  assert.deepEqual(await refusalOf(app.call('not-a-token')), [401, 'invalid_token']);
  await callbacksOfOthersAreRefused(app);

  // The user allows reading alone: the token has a part of what was asked for.
  const read = await person.visit(`${app.url}/read`, { refuse: [given.other_scope] });
  assert.deepEqual([read.address, read.status], [`${app.url}/read`, 200], read.page);
  const [session] = [...app.sessions.values()].filter(({ tokens }) => tokens);
  const granted = session.tokens.scope;
  assert.ok(!granted.split(' ').includes(given.other_scope), granted);
  assert.equal(session.tokens.claims().sub, 'alice');
  const writing = app.call(session.tokens.access_token, { method: 'POST' });
  assert.deepEqual(await refusalOf(writing), [403, 'insufficient_scope']);

  // Writing is refused by the gateway, so the application asks the user again: no, and then yes.
  const still = await person.visit(`${app.url}/write`, { refuse: [given.other_scope] });
  assert.deepEqual([still.status, session.asked], [500, given.other_scope], still.page);
  session.asked = undefined;
  const written = await person.visit(`${app.url}/write`);
  assert.deepEqual([written.address, written.status], [`${app.url}/write`, 200], written.page);

  const { access_token, id_token, refresh_token } = session.tokens;
  assert.deepEqual(await refusalOf(app.call(id_token)), [401, 'invalid_token'], 'an ID token is no access token');
  assert.deepEqual(await refusalOf(app.call(access_token, { path: given.foreign_path })), [401, 'invalid_token']);

  session.tokens = await app.refresh(refresh_token);
  assert.notEqual(session.tokens.access_token, access_token);
  assert.notEqual(session.tokens.refresh_token, refresh_token, 'refresh tokens rotate');
  const again = await person.visit(`${app.url}/write`);
  assert.equal(again.status, 200, again.page);

  // RFC 9700 section 4.14.2: a refresh token that comes twice was stolen, and all that came of it ends.
  const later = session.tokens;
  for (const token of [refresh_token, later.refresh_token]) {
    await assert.rejects(app.refresh(token), { code: 'OAUTH_RESPONSE_BODY_ERROR', error: 'invalid_grant' });
  }
  const isOpaque = !later.access_token.includes('.');
  if (isOpaque) await refusedInTime(() => app.call(later.access_token));
  return { granted_scope: granted, later_scope: later.scope, theft_seen: isOpaque, upstream_saw: JSON.parse(again.page) };
});

/** A callback with another issuer, state or verifier, and one to an address that was never registered. */
async function callbacksOfOthersAreRefused(app) {
  const session = {};
  const start = await app.signIn(session, app.url, [given.scope]);
  const { address } = await new Person().visit(start, { until: `${app.url}/callback` });
  const { verifier, state, nonce } = session.sent;
  const changed = (name, value) => {
    const other = new URL(address);
    other.searchParams.set(name, value);
    return other;
  };
  const invalid = { code: 'OAUTH_INVALID_RESPONSE' };
  const sent = { verifier, state, nonce };
  await assert.rejects(app.exchange(changed('iss', 'https://login.evil.test'), sent), invalid, 'RFC 9207: iss');
  await assert.rejects(app.exchange(changed('state', 'another'), sent), invalid, 'state');
  const another = { ...sent, verifier: oauth.randomPKCECodeVerifier() };
  await assert.rejects(app.exchange(new URL(address), another), { error: 'invalid_grant' }, 'PKCE');

  const elsewhere = new URL(start);
  elsewhere.searchParams.set('redirect_uri', `${app.url}/elsewhere`);
  const { status } = await new Person().visit(elsewhere.href, { until: `${app.url}/elsewhere` });
  assert.equal(status, 400, 'a redirect URI that is not registered');
}

async function refusedInTime(call) {
  const end = performance.now() + Number(given.revocation_within_ms);
  for (;;) {
    const outcome = await call().then(({ status }) => [status], (error) => [error.status]);
    if (outcome[0] === 401) return;
    assert.ok(performance.now() < end, `still ${outcome[0]} for a token of a revoked grant`);
    await delay(50);
  }
}
