// Who signs in without a browser: follows redirects, keeps cookies, and fills in plain forms.
import assert from 'node:assert/strict';

const STEPS_MAX = 20;

export class Person {
  #login;
  #cookies = new Map(); // origin -> Map of name to value

  constructor(login = 'alice') {
    this.#login = login;
  }

  /**
   * Walks on from `address` until a page comes that asks for nothing, or an address that begins with `until`, which
   * is not called. Refuses the scopes of `refuse` where the authorization server asks for consent.
   */
  async visit(address, { refuse = [], until } = {}) {
    let response = await this.#request(address);
    for (let step = 0; step < STEPS_MAX; step += 1) {
      const location = response.headers.get('location');
      const page = location ? '' : await response.text();
      if (location) {
        const next = new URL(location, response.url).href;
        if (until && next.startsWith(until)) return { address: next };
        response = await this.#request(next);
      } else if (page.includes('<form method="post"')) {
        response = await this.#request(response.url, this.#fill(page, refuse));
      } else {
        return { address: response.url, status: response.status, page };
      }
    }
    return assert.fail(`still not there after ${STEPS_MAX} steps: ${response.url}`);
  }

  #fill(page, refuse) {
    const form = new URLSearchParams();
    if (page.includes('name="login"')) form.append('login', this.#login);
    for (const scope of refuse) if (page.includes(`value="${scope}"`)) form.append('refuse', scope);
    return form;
  }

  async #request(address, form) {
    const { origin } = new URL(address);
    const cookies = this.#cookies.get(origin) ?? new Map();
    this.#cookies.set(origin, cookies);
    const response = await fetch(address, {
      method: form ? 'POST' : 'GET',
      body: form,
      redirect: 'manual',
      headers: { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') },
    });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=;]+)=([^;]*)/.exec(line);
      if (value && !/expires=Thu, 01 Jan 1970/i.test(line)) cookies.set(name, value);
      else cookies.delete(name);
    }
    return response;
  }
}
