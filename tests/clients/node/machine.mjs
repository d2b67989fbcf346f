// A machine: openid-client gets tokens by client credentials (RFC 6749 section 4.4) and keeps one until the gateway
// says that it is over. There is no refresh token (section 4.4.3): the next token is another exchange.
//
// --short-resource must be one with tokens that live a few seconds, and the gateway should allow no clock skew.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

import * as oauth from 'openid-client';

import { discover, refusalOf, tokenParameters } from './openid.mjs';
import { readOptions, REQUIRED, report } from './script.mjs';

const given = readOptions({
  gateway: REQUIRED,
  issuer: REQUIRED,
  client_id: 'reports',
  client_secret: 'reports-secret',
  limited_id: 'limited', // a client that can have `scope` alone
  limited_secret: 'limited-secret',
  resource: '',
  short_resource: REQUIRED,
  scope: 'orders:read',
  path: '/orders/1',
  foreign_path: '/foreign/1', // of another audience
  basic_path: '/basic/1', // takes key and secret
  renewal_within_ms: '15000',
});

class Machine {
  exchanges = [];
  #config;
  #resource;
  #scopes = new Set(given.scope.split(' '));

  constructor(config, resource) {
    this.#config = config;
    this.#resource = resource;
  }

  static async with({ resource = given.resource, ...credentials }) {
    return new Machine(await discover({ ...given, ...credentials }), resource);
  }

  get token() {
    return this.exchanges.at(-1)?.access_token;
  }

  async exchange() {
    const parameters = tokenParameters({ scope: [...this.#scopes].join(' '), resource: this.#resource });
    this.exchanges.push(await oauth.clientCredentialsGrant(this.#config, parameters));
  }

  /** One call with the token at hand: throws what the gateway refuses with. */
  once(method = 'GET', path = given.path) {
    return oauth.fetchProtectedResource(this.#config, this.token, new URL(path, given.gateway), method);
  }

  /** A call as this machine makes them: a token that is over, or has too few scopes, is exchanged once. */
  async call(method) {
    if (!this.token) await this.exchange();
    try {
      return await this.once(method);
    } catch (thrown) {
      const { error, scope = '' } = thrown.cause?.[0]?.parameters ?? {};
      if (!['invalid_token', 'insufficient_scope'].includes(error)) throw thrown;
      scope.split(' ').filter(Boolean).forEach((one) => this.#scopes.add(one));
      await this.exchange();
      return this.once(method);
    }
  }
}

report('openid-client machine', async () => {
  const plain = await fetch(new URL(given.path, given.gateway));
  assert.equal(plain.status, 401, 'without a token');

  const machine = await Machine.with({});
  const response = await machine.call('GET');
  assert.equal(response.status, 200);
  assert.equal(machine.exchanges[0].refresh_token, undefined, 'RFC 6749 section 4.4.3');
  assert.deepEqual(await refusalOf(machine.once('GET', given.foreign_path)), [401, 'invalid_token']);

  // The token is over by the clock. The machine does not look at it: the gateway's 401 tells.
  const brief = await Machine.with({ resource: given.short_resource });
  const end = performance.now() + Number(given.renewal_within_ms);
  while (brief.exchanges.length < 2) {
    assert.equal((await brief.call('GET')).status, 200);
    assert.ok(performance.now() < end, 'a token that should be over is still good');
    await delay(100);
  }
  const late = await Machine.with({});
  late.exchanges.push(brief.exchanges[0]);
  assert.deepEqual(await refusalOf(late.once()), [401, 'invalid_token'], 'the old token stays refused');

  // Another scope: the challenge names it, and the next exchange asks for it too.
  assert.deepEqual(await refusalOf(machine.once('POST')), [403, 'insufficient_scope']);
  assert.equal((await machine.call('POST')).status, 200);
  assert.equal(machine.exchanges.length, 2);

  // A client that cannot have it gets a part of what it asks for, and no further.
  const limited = await Machine.with({ client_id: given.limited_id, client_secret: given.limited_secret });
  assert.deepEqual(await refusalOf(limited.call('POST')), [403, 'insufficient_scope']);
  assert.equal(limited.exchanges.length, 2, 'it asked once more');
  assert.equal(limited.exchanges[1].scope, given.scope, 'partial scopes');
  assert.equal((await limited.call('GET')).status, 200);

  // A machine that knows no OAuth sends key and secret where the route takes them.
  const basic = (path, secret) => fetch(new URL(path, given.gateway), {
    headers: { authorization: `Basic ${Buffer.from(`${given.client_id}:${secret}`).toString('base64')}` },
  });
  const statuses = [
    (await basic(given.basic_path, given.client_secret)).status,
    (await basic(given.basic_path, 'wrong')).status,
    (await basic(given.path, given.client_secret)).status, // a route that takes tokens alone
  ];
  assert.deepEqual(statuses, [200, 401, 401]);
  return { renewals: brief.exchanges.length, partial_scope: limited.exchanges[1].scope };
});
