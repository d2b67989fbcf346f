// A single-page application (spa/app.mjs, with oauth4webapi): its page lives on an origin of its own, gets tokens by
// code with PKCE, and calls the API from the browser. The same page code runs in a real browser, if there is one, and
// under Node.js with a fetch that is held to the CORS protocol (cors_fetch.mjs).
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import tls from 'node:tls';

import * as oauth from 'oauth4webapi';

import { Browser, findBrowser } from './browser.mjs';
import { corsFetch } from './cors_fetch.mjs';
import { Person } from './person.mjs';
import { listen, readOptions, REQUIRED, report } from './script.mjs';
import { App } from './spa/app.mjs';

const given = readOptions({
  gateway: REQUIRED,
  issuer: REQUIRED,
  client_id: 'spa',
  origin: 'http://app.localhost', // where the application lives; the gateway and the server allow it
  other_origin: 'http://evil.localhost',
  resource: '',
  scope: 'orders:read',
  other_scope: 'orders:write',
  path: '/orders/1',
  foreign_path: '/foreign/1', // of another audience
  closed_path: '/closed/1', // allows no page
  public_path: '/public/1',
  browser: '', // `none`: not even if there is one
});
const settings = { ...given, redirect_uri: `${given.origin}/callback` };
const NOTHING = { unreadable: true };

/** The page under Node.js. */
class NodePage {
  #app;

  constructor(origin) {
    const stored = new Map();
    const storage = {
      getItem: (name) => stored.get(name),
      setItem: (...pair) => stored.set(...pair),
      removeItem: (name) => stored.delete(name),
    };
    this.#app = new App({ oauth, settings, storage, fetch: corsFetch(origin) });
  }

  run(name, ...values) {
    return this.#app[name](...values);
  }

  async signIn(scope) {
    const person = new Person();
    const { address } = await person.visit(await this.#app.signInAddress(scope), { until: settings.redirect_uri });
    return this.#app.finish(address);
  }
}

/** The page in a browser, where a person fills in the forms. */
class BrowserPage {
  #tab;

  constructor(tab) {
    this.#tab = tab;
  }

  static async open(browser, origin) {
    const page = new BrowserPage(await browser.open(`${origin}/`));
    await page.#tab.eventually('Boolean(window.arrived)');
    return page;
  }

  run(name, ...values) {
    return this.#tab.evaluate(`app[${JSON.stringify(name)}](...${JSON.stringify(values)})`);
  }

  async signIn(scope) {
    await this.#tab.go(await this.run('signInAddress', scope));
    await this.#tab.eventually(`(() => {
      const [form] = document.forms;
      if (form && !form.dataset.sent) {
        form.dataset.sent = 'yes';
        if (form.login) form.login.value = 'alice';
        form.querySelector('button').click();
      }
      return location.origin === ${JSON.stringify(given.origin)} && Boolean(window.arrived);
    })()`);
    return this.#tab.evaluate('window.arrived');
  }
}

/** What an application sees, from its own origin and from another; `other` is a page of that. */
async function useApi(page, other) {
  const anonymous = await page.run('call', 'GET', given.path);
  assert.equal(anonymous.status, 401, 'a page can read the refusal');
  assert.deepEqual([anonymous.challenge.scope, anonymous.challenge.error], [given.scope, undefined]);
  assert.ok(anonymous.headers['x-request-id'], 'and the number of the request');

  const first = await page.signIn(`openid ${given.scope}`);
  const read = await page.run('call', 'GET', given.path);
  assert.equal(read.status, 200);
  assert.deepEqual([read.headers['x-total'], read.headers['x-inner']], ['1', undefined], 'exposed, and not');
  const foreign = await page.run('call', 'GET', given.foreign_path);
  assert.deepEqual([foreign.status, foreign.challenge.error], [401, 'invalid_token'], 'another audience');
  assert.deepEqual(await page.run('call', 'GET', given.closed_path), NOTHING, 'a route without cors');

  const refused = await page.run('call', 'PUT', given.path);
  assert.deepEqual([refused.status, refused.challenge.error], [403, 'insufficient_scope']);
  assert.equal(refused.challenge.scope, given.other_scope, 'the challenge names what is missing');
  const second = await page.signIn(`${first.scope} ${refused.challenge.scope}`);
  assert.equal((await page.run('call', 'PUT', given.path)).status, 200);

  const third = await page.run('refresh');
  assert.notEqual(third.access_token, second.access_token);
  assert.notEqual(third.refresh_token, second.refresh_token, 'refresh tokens rotate');
  assert.equal((await page.run('call', 'PUT', given.path)).status, 200);

  // A page of another origin learns nothing, even with a good token: of the gateway, of the server.
  for (const path of [given.path, given.foreign_path, given.public_path]) {
    for (const token of [undefined, third.access_token]) {
      assert.deepEqual(await other.run('call', 'GET', path, token), NOTHING, `${path} from another origin`);
    }
  }
  assert.deepEqual(await other.run('refresh', third.refresh_token), NOTHING);

  // That page's attempt was refused by the server before it was used, so the token is still good, once.
  const fourth = await page.run('refresh');
  assert.ok(fourth.access_token, JSON.stringify(fourth));
  for (const token of [third.refresh_token, fourth.refresh_token]) { // RFC 9700 section 4.14.2
    assert.deepEqual(await page.run('refresh', token), { status: 400, error: 'invalid_grant' });
  }
  return { granted_scope: first.scope, later_scope: fourth.scope };
}

report('oauth4webapi single-page application', async () => {
  const seen = await useApi(new NodePage(given.origin), new NodePage(given.other_origin));
  const path = given.browser === 'none' ? undefined : given.browser || findBrowser();
  return { ...seen, browser: path ? await inBrowser(path) : null };
});

async function inBrowser(path) {
  const server = http.createServer(servePage);
  const port = await listen(server);
  const hosts = Object.fromEntries(
    [given.origin, given.other_origin].map((origin) => [`${new URL(origin).hostname}:80`, `127.0.0.1:${port}`]),
  );
  const browser = new Browser(path, { hosts, trustedKey: await keyOf(new URL(given.issuer)) });
  try {
    const { product } = await browser.send('Browser.getVersion');
    const [page, other] = [
      await BrowserPage.open(browser, given.origin), await BrowserPage.open(browser, given.other_origin),
    ];
    await useApi(page, other);
    return product;
  } finally {
    await browser.close();
  }
}

const FILES = {
  '/app.mjs': ['text/javascript', join(import.meta.dirname, 'spa/app.mjs')],
  '/oauth4webapi.js': ['text/javascript', join(import.meta.dirname, 'node_modules/oauth4webapi/build/index.js')],
};

function servePage(req, res) {
  const { pathname } = new URL(req.url, given.origin);
  if (pathname === '/settings.json') {
    return res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(settings));
  }
  const [type, file] = FILES[pathname] ?? ['text/html', join(import.meta.dirname, 'spa/index.html')];
  return res.writeHead(200, { 'content-type': type }).end(readFileSync(file));
}

/** SHA-256 of the key that the authorization server shows, in base64, once it is known to be the trusted one. */
function keyOf({ hostname, port }) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: hostname, port }, () => {
      const key = socket.getPeerX509Certificate().publicKey.export({ type: 'spki', format: 'der' });
      socket.destroy();
      resolve(createHash('sha256').update(key).digest('base64'));
    });
    socket.once('error', reject);
  });
}
