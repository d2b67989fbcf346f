// Whom and what the server knows from the start: scopes, resources, users, clients.
import { errors } from 'oidc-provider';

import { JWT_BEARER, TOKEN_EXCHANGE } from './grants.mjs';
import { newJwk, publicJwk } from './keys.mjs';

export const API_SCOPES = ['orders:read', 'orders:write', 'orders:admin', 'reports:read'];
const ALL = API_SCOPES.join(' ');

/** HS256 tokens are signed, and encrypted ones encrypted, with this key (32 bytes). */
export const SHARED_SECRET = 'a-secret-of-issuer-and-resource!';

const jwt = (alg) => ({ accessTokenFormat: 'jwt', jwt: { sign: { alg } } });
const shared = Buffer.from(SHARED_SECRET);

/** RFC 8707: what a token for each resource looks like. All of them know all API scopes. */
export const RESOURCES = {
  'https://api.test/jwt': jwt('RS256'),
  'https://api.test/ps256': jwt('PS256'),
  'https://api.test/es256': jwt('ES256'),
  'https://api.test/eddsa': jwt('EdDSA'),
  'https://api.test/ed25519': jwt('Ed25519'),
  'https://api.test/hs256': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'HS256', key: shared } } },
  'https://api.test/encrypted': {
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: 'RS256' }, encrypt: { alg: 'dir', enc: 'A256GCM', key: shared } },
  },
  'https://api.test/opaque': { accessTokenFormat: 'opaque' },
  'https://api.test/short-jwt': { ...jwt('RS256'), accessTokenTTL: 3 },
  'https://api.test/short-opaque': { accessTokenFormat: 'opaque', accessTokenTTL: 3 },
};
export const DEFAULT_RESOURCE = 'https://api.test/jwt';

/** The resource as one client sees it: the scopes that this client cannot have are not offered. */
export function resourceFor(resource, client) {
  if (!Object.hasOwn(RESOURCES, resource)) throw new errors.InvalidTarget();
  return { ...RESOURCES[resource], scope: client.api_scope ?? ALL };
}

/** RFC 9396: the types of its examples; any object of these can be asked for. */
export const DETAIL_TYPES = {
  account_information: { validate() {} },
  payment_initiation: { validate() {} },
};

/** Of the `authorization_details` asked for, those that this client can have. */
export function detailsFor({ authorization_details: asked = '[]' }, { detail_types: types }) {
  return JSON.parse(asked).filter(({ type }) => !types || types.includes(type));
}

/** Any login name is let in, with any password. Those listed here have claims of their own. */
export const USERS = {
  alice: { department: ['it'], roles: ['admin', 'reader'] },
  bob: { department: ['sales'], roles: ['reader'] },
};

/** Authenticates, but is told of every token that it is inactive. */
export const OUTSIDER = 'outsider';

/** Where the single-page app lives: a name that browsers hold to be this machine, and safe without TLS. */
const SPA_ORIGIN = 'http://app.localhost';

const client = (client_id, grant_types, more = {}) => ({
  client_id,
  client_secret: `${client_id}-secret`,
  grant_types,
  response_types: grant_types.includes('authorization_code') ? ['code'] : [],
  redirect_uris: grant_types.includes('authorization_code') ? ['http://127.0.0.1/callback'] : [],
  api_scope: ALL, // not OAuth metadata: the API scopes that this client can be granted
  authorization_details_types: Object.keys(DETAIL_TYPES), // it may ask for these; detail_types: is granted
  ...more,
});
const machine = (client_id, more) => client(client_id, ['client_credentials'], more);
const user = ['authorization_code', 'refresh_token'];
/** An application that cannot keep a secret: it proves by PKCE that a code is its own (RFC 9700 section 2.1.1). */
const open = (client_id, more) =>
  client(client_id, user, { client_secret: undefined, token_endpoint_auth_method: 'none', ...more });

export function initialClients(clientKeys) {
  return [
    machine('reports'),
    machine('limited', { api_scope: 'orders:read', detail_types: ['account_information'] }),
    machine('poster', { token_endpoint_auth_method: 'client_secret_post' }),
    machine('signer', {
      client_secret: undefined,
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [publicJwk(clientKeys.signer)] },
    }),
    machine(`eighty-${'0123456789'.repeat(7)}abc`, { client_secret: 'eighty-secret' }),
    // What RFC 6749 appendix A.1 allows in an id: printable ASCII, so no é (the Django server has that).
    machine('sp:ecial %41+&=/?"\\~ id', { client_secret: 's:e%63ret+&=/?"\\~ x' }),
    client('exchanger', [TOKEN_EXCHANGE, JWT_BEARER]),
    client('renewer', [TOKEN_EXCHANGE, 'refresh_token']),
    machine('mutual', {
      client_secret: undefined,
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: 'client.test',
    }),
    client('web', user, { application_type: 'native' }), // native: any loopback port may be redirected to
    open('native', { application_type: 'native' }),
    open('spa', { redirect_uris: [`${SPA_ORIGIN}/callback`], cors_origins: [SPA_ORIGIN] }),
    client('gateway', []),
    client(OUTSIDER, []),
  ];
}

export async function newClientKeys() {
  return { signer: await newJwk('ES256', 'signer') };
}
