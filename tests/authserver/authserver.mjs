#!/usr/bin/env node
// A real authorization server (oidc-provider) on loopback, with faults and a control port for tests.
// Prints one line of JSON when it is ready; ends on SIGTERM or when a piped standard input closes.
import { execFileSync } from 'node:child_process';
import { fstatSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { createControl } from './control.mjs';
import { Front } from './faults.mjs';
import { KeyRing } from './keys.mjs';
import { createProvider } from './provider.mjs';
import { initialClients, newClientKeys } from './directory.mjs';
import { Store } from './store.mjs';

const HOST = '127.0.0.1';
// Longer than any test waits: a connection that closes while it is being reused is a fault to ask for.
const KEEP_ALIVE_MS = 120_000;

console.info = console.error; // where oidc-provider writes notices; standard output is for the ready line

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    'control-port': { type: 'string', default: '0' },
    tls: { type: 'boolean', default: false },
    certs: { type: 'string' }, // made by make-certs.sh; without it --tls makes some for this run
  },
});

const ownCerts = options.tls && !options.certs ? makeCerts() : undefined;
const certs = options.certs ?? ownCerts;
process.on('exit', () => ownCerts && rmSync(ownCerts, { recursive: true, force: true }));

const front = new Front();
const listener = (req, res) => front.handle(req, res, () => server.answer(req, res))
  .catch((error) => { // a fault that cannot be carried out, such as a header with a line break
    console.error(error);
    res.destroy();
  });
const main = options.tls ? https.createServer(tlsOptions(certs), listener) : http.createServer(listener);
main.keepAliveTimeout = KEEP_ALIVE_MS;
const port = await listen(main, options.port); // before the rest: the issuer's name contains the port

// Where clients show certificates; the main port asks nobody for one.
const mutual = options.tls && https.createServer({
  ...tlsOptions(certs), ca: readFileSync(join(certs, 'ca.crt')), requestCert: true, rejectUnauthorized: false,
}, listener);
const mutualPort = mutual && await listen(mutual, '0');

const server = {
  mtls: mutual && `https://${HOST}:${mutualPort}`,
  issuer: `${options.tls ? 'https' : 'http'}://${HOST}:${port}`,
  front,
  store: new Store(),
  keys: await KeyRing.create(),
  clientKeys: await newClientKeys(),
  /** oidc-provider reads its keys once, so new keys mean a new provider over the same store. */
  reload() {
    this.provider = createProvider(this);
    this.answer = this.provider.callback();
  },
};
for (const client of initialClients(server.clientKeys)) {
  await server.store.table('Client').upsert(client.client_id, client);
}
server.reload();

const control = createControl(server);
const controlPort = await listen(control, options['control-port']);
console.log(JSON.stringify({
  issuer: server.issuer,
  control: `http://${HOST}:${controlPort}`,
  port,
  pid: process.pid,
  ...(options.tls && { certs }),
}));

process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
const input = fstatSync(0);
if (input.isFIFO() || input.isSocket()) { // not a terminal, nor /dev/null, which is at its end from the start
  process.stdin.on('end', () => process.exit(0)).resume();
}

function listen(listening, wanted) {
  return new Promise((resolve, reject) => {
    listening.once('error', reject);
    listening.listen(Number(wanted), HOST, () => resolve(listening.address().port));
  });
}

function tlsOptions(folder) {
  const read = (name) => readFileSync(join(folder, name));
  return {
    cert: read('server.crt'),
    key: read('server.key'),
  };
}

function makeCerts() {
  const folder = mkdtempSync(join(tmpdir(), 'authserver-certs-'));
  execFileSync(join(import.meta.dirname, 'make-certs.sh'), [folder], { stdio: ['ignore', 2, 2] });
  return folder;
}
