// An upstream that takes nobody's word but the gateway's: it checks each JWT by the key set that the gateway
// serves, and answers with what that says. `POST /trust {"jwks": URL}` tells it where that is.
import { createServer } from 'node:http';

import { createRemoteJWKSet, jwtVerify } from 'jose';

import { listen, readOptions, ready } from './script.mjs';

const given = readOptions({
  issuer: 'https://gateway.test',
  audience: 'https://orders.internal',
  header: 'authorization',
});
let keys;

async function answer(request) {
  if (request.method === 'POST' && request.url === '/trust') {
    let body = '';
    for await (const piece of request) body += piece;
    keys = createRemoteJWKSet(new URL(JSON.parse(body).jwks));
    return [200, {}];
  }
  const jwt = (request.headers[given.header] ?? '').replace(/^Bearer /, '');
  try {
    const { payload, protectedHeader } = await jwtVerify(jwt, keys, {
      issuer: given.issuer, audience: given.audience, typ: 'JWT', requiredClaims: ['sub', 'exp', 'jti'],
    });
    return [200, { payload, header: protectedHeader }];
  } catch (error) {
    return [403, { error: `${error.name}: ${error.message}` }];
  }
}

const server = createServer(async (request, response) => {
  const [status, body] = await answer(request);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});
ready({ url: `http://127.0.0.1:${await listen(server)}` });
