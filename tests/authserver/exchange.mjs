// Token exchange (RFC 8693) and the JWT bearer grant (RFC 7523 section 2.1), which oidc-provider leaves to its
// users. A client gets a token for the user of another one; `act` says who acts, and whoever acted before.
import { createLocalJWKSet, jwtVerify } from 'jose';
import { errors } from 'oidc-provider';

import { DEFAULT_RESOURCE, detailsFor, resourceFor } from './directory.mjs';
import { JWT_BEARER, TOKEN_EXCHANGE } from './grants.mjs';
import { publicJwk } from './keys.mjs';

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';

const TARGET = ['audience', 'resource', 'scope', 'authorization_details'];
const SUBJECT = ['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type'];

/** Claims of a token that came of an exchange; one that was refreshed no longer knows who acted before. */
export function exchangedClaims(token) {
  const isExchanged = token.gty?.startsWith(TOKEN_EXCHANGE) || token.gty?.startsWith(JWT_BEARER);
  return isExchanged ? { act: { sub: token.clientId } } : {};
}

export function installExchange(provider, keys) {
  const grant = (name, handler, parameters) => provider.registerGrantType(
    name, handler, [...parameters, ...TARGET], ['audience', 'resource'],
  );
  grant(TOKEN_EXCHANGE, async (ctx) => {
    const { params, client } = ctx.oidc;
    const requested = params.requested_token_type;
    if (requested && ![ACCESS_TOKEN, JWT].includes(requested)) throw new errors.InvalidRequest('requested_token_type');
    const subject = await read(provider, keys, params.subject_token, params.subject_token_type);
    if (!subject) throw new errors.InvalidRequest('the subject token is not good');
    if (Boolean(params.actor_token) !== Boolean(params.actor_token_type)) throw new errors.InvalidRequest('actor_token_type');
    const actor = params.actor_token && await read(provider, keys, params.actor_token, params.actor_token_type);
    if (actor === null) throw new errors.InvalidRequest('the actor token is not good');
    const act = { sub: actor ? actor.sub : client.clientId, ...(subject.act && { act: subject.act }) };
    ctx.body = { ...await issue(provider, ctx, TOKEN_EXCHANGE, subject, act), issued_token_type: ACCESS_TOKEN };
  }, [...SUBJECT, 'requested_token_type']);
  grant(JWT_BEARER, async (ctx) => {
    const subject = await read(provider, keys, ctx.oidc.params.assertion, JWT);
    if (!subject) throw new errors.InvalidGrant('the assertion is not good');
    const act = { sub: ctx.oidc.client.clientId, ...(subject.act && { act: subject.act }) };
    ctx.body = await issue(provider, ctx, JWT_BEARER, subject, act);
  }, ['assertion']);
}

/** The claims of a token of this server's own; null if it is not good. */
async function read(provider, keys, token, type) {
  if (!token || ![ACCESS_TOKEN, JWT].includes(type)) return null;
  if (token.split('.').length === 3) {
    const known = createLocalJWKSet({ keys: keys.privateJwks.map(publicJwk) });
    const read = await jwtVerify(token, known, { issuer: provider.issuer, typ: 'at+jwt' }).catch(() => null);
    return read?.payload ?? null;
  }
  if (type === JWT) return null;
  const stored = await provider.AccessToken.find(token) ?? await provider.ClientCredentials.find(token);
  return stored ? { sub: stored.accountId ?? stored.clientId, act: stored.extra?.act } : null;
}

async function issue(provider, ctx, gty, subject, act) {
  const { client, params } = ctx.oidc;
  const [resource = DEFAULT_RESOURCE, another] = [params.resource ?? [], params.audience ?? []].flat();
  if (another && another !== resource) throw new errors.InvalidTarget();
  const info = resourceFor(resource, client);
  const offered = new Set(info.scope.split(' '));
  const scope = (params.scope ?? '').split(' ').filter((one) => offered.has(one)).join(' ');
  const grant = new provider.Grant({ accountId: subject.sub, clientId: client.clientId });
  grant.addResourceScope(resource, scope);
  const grantId = await grant.save();
  const made = { client, accountId: subject.sub, grantId, gty, scope };
  const token = new provider.AccessToken(made);
  token.resourceServer = new provider.ResourceServer(resource, info);
  token.ownClaims = { act };
  if (params.authorization_details) token.rar = detailsFor(params, client);
  const refresh = client.grantTypeAllowed('refresh_token')
    && await new provider.RefreshToken({ ...made, resource, rotations: 0 }).save();
  return {
    access_token: await token.save(),
    token_type: 'Bearer',
    expires_in: token.expiration,
    scope,
    ...(token.rar && { authorization_details: token.rar }),
    ...(refresh && { refresh_token: refresh }),
  };
}
