// oidc-provider, configured. What each setting is for is said where its name does not say it.
import { errors, Provider } from 'oidc-provider';

import { exchangedClaims, installExchange } from './exchange.mjs';
import { installLogin } from './login.mjs';
import { aliases, MTLS } from './mtls.mjs';
import { detailsFor, DETAIL_TYPES, DEFAULT_RESOURCE, OUTSIDER, resourceFor, USERS } from './directory.mjs';

// oidc-provider 9 is written for Node.js 22; this is the one function that Node.js 20 lacks.
URL.parse ??= (url, base) => (URL.canParse(url, base) ? new URL(url, base) : null);

const TOKEN_TTL_S = 600;

export function createProvider({ issuer, keys, store, mtls }) {
  const ttl = (ctx, token) => token.resourceServer?.accessTokenTTL ?? TOKEN_TTL_S;
  const provider = new Provider(issuer, {
    adapter: (model) => store.table(model),
    jwks: { keys: keys.privateJwks },
    cookies: { keys: ['only-for-tests'] },
    scopes: ['openid', 'offline_access'],
    claims: { openid: ['sub', 'department', 'roles'] },
    extraClientMetadata: { properties: ['api_scope', 'detail_types', 'assertion_audience', 'cors_origins'] },
    clientBasedCORS: (ctx, origin, client) => client.cors_origins?.includes(origin) ?? false,
    // What the user refused once is not asked again, unless the client says `prompt=consent`.
    loadExistingGrant: ({ oidc }) => {
      const asksAnew = oidc.prompts.has('consent');
      const grantId = oidc.result?.consent?.grantId
        ?? (asksAnew ? undefined : oidc.session.grantIdFor(oidc.client.clientId));
      return grantId && oidc.provider.Grant.find(grantId);
    },
    findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub, ...USERS[sub] }) }),
    extraTokenClaims: (ctx, token) => {
      // ownClaims: mint.mjs, exchange.mjs
      const claims = { ...USERS[token.accountId], ...exchangedClaims(token), ...token.ownClaims };
      return Object.keys(claims).length ? claims : undefined;
    },
    clientAuthMethods: [
      'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none',
      'tls_client_auth', 'self_signed_tls_client_auth',
    ],
    ...(mtls && { discovery: { mtls_endpoint_aliases: aliases(mtls) } }),
    // By itself it takes the issuer, the token endpoint and the endpoint that is asked.
    assertJwtClientAuthClaimsAndHeader: (ctx, claims, header, client) => {
      const only = client.assertion_audience;
      if (only && claims.aud !== only) throw new errors.InvalidClientAuth(`aud must be ${only}`);
    },
    pkce: { required: () => true },
    // By itself it tells nobody on loopback of a logout.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    ttl: { AccessToken: ttl, ClientCredentials: ttl },
    features: {
      devInteractions: { enabled: false }, // login.mjs is in its place
      clientCredentials: { enabled: true },
      mTLS: MTLS,
      revocation: { enabled: true },
      backchannelLogout: { enabled: true },
      dPoP: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: (ctx, client) => client.clientId !== OUTSIDER,
      },
      richAuthorizationRequests: {
        enabled: true,
        types: DETAIL_TYPES,
        authorizationDetailsForGrantSource: () => undefined, // users grant none
        authorizationDetailsForAccessToken: (ctx) => detailsFor(ctx.oidc.params, ctx.oidc.client),
        // Also what mint.mjs puts into an opaque token.
        authorizationDetailsForIntrospection: (ctx, token) => token.rar,
      },
      jwtIntrospection: { enabled: true }, // RFC 9701, for whoever asks for it
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx, client, oneOf) => oneOf ?? DEFAULT_RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource, client) => resourceFor(resource, client),
      },
    },
  });
  provider.on('server_error', (ctx, error) => console.error(error));
  installLogin(provider);
  installExchange(provider, keys);
  return provider;
}
