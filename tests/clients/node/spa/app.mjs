// The single-page application: it runs in a browser as it is. No secret; code with PKCE; tokens in memory alone.
// Everything goes by fetch, so the authorization server and the gateway must both allow this page's origin (CORS).

/** `settings`: issuer, client_id, redirect_uri, gateway, resource. `storage` outlives the way to the login and back. */
export class App {
  #oauth;
  #options;
  #settings;
  #storage;
  #client;
  #server;
  #tokens = {};

  constructor({ oauth, settings, storage, fetch = globalThis.fetch.bind(globalThis) }) {
    this.#oauth = oauth;
    this.#settings = settings;
    this.#storage = storage;
    this.#client = { client_id: settings.client_id };
    this.#options = {
      [oauth.customFetch]: fetch,
      [oauth.allowInsecureRequests]: true, // the gateway of a test has no TLS
    };
  }

  // The library always sends a token, and reads challenges: this lets it read one that answers none.
  #withoutToken = (address, { headers: { authorization, ...headers }, ...init }) =>
    this.#options[this.#oauth.customFetch](address, { ...init, headers });

  async #discovered() {
    const issuer = new URL(this.#settings.issuer);
    this.#server ??= await this.#oauth.processDiscoveryResponse(
      issuer,
      await this.#oauth.discoveryRequest(issuer, this.#options),
    );
    return this.#server;
  }

  /** Where the login is. */
  async signInAddress(scope) {
    const [server, oauth] = [await this.#discovered(), this.#oauth];
    const sent = { verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState() };
    this.#storage.setItem('sent', JSON.stringify(sent));
    const address = new URL(server.authorization_endpoint);
    address.search = new URLSearchParams({
      response_type: 'code',
      client_id: this.#client.client_id,
      redirect_uri: this.#settings.redirect_uri,
      scope,
      state: sent.state,
      code_challenge: await oauth.calculatePKCECodeChallenge(sent.verifier),
      code_challenge_method: 'S256',
      ...(this.#settings.resource && { resource: this.#settings.resource }),
    });
    return address.href;
  }

  /** Takes the answer of the login, which came back to `address`. */
  async finish(address) {
    const [server, oauth] = [await this.#discovered(), this.#oauth];
    const { verifier, state } = JSON.parse(this.#storage.getItem('sent'));
    this.#storage.removeItem('sent');
    const parameters = oauth.validateAuthResponse(server, this.#client, new URL(address), state);
    const response = await oauth.authorizationCodeGrantRequest(
      server, this.#client, oauth.None(), parameters, this.#settings.redirect_uri, verifier, this.#options,
    );
    this.#tokens = await oauth.processAuthorizationCodeResponse(server, this.#client, response);
    return this.#tokens;
  }

  /** Asks for new tokens; with another `token`, what the server says to that. */
  async refresh(token = this.#tokens.refresh_token) {
    const [server, oauth] = [await this.#discovered(), this.#oauth];
    return readable(oauth, async () => {
      const response = await oauth.refreshTokenGrantRequest(
        server, this.#client, oauth.None(), token, this.#options,
      );
      this.#tokens = await oauth.processRefreshTokenResponse(server, this.#client, response);
      return this.#tokens;
    });
  }

  /** What the page can read of an answer: status and fields, a challenge taken apart, or nothing. */
  async call(method, path, token = this.#tokens.access_token) {
    const [oauth, address] = [this.#oauth, new URL(path, this.#settings.gateway)];
    return readable(oauth, async () => {
      const options = token ? this.#options : { ...this.#options, [oauth.customFetch]: this.#withoutToken };
      const response = await oauth.protectedResourceRequest(
        token ?? 'none', method, address, undefined, undefined, options,
      );
      return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
    });
  }
}

async function readable(oauth, calling) {
  try {
    return await calling();
  } catch (error) {
    if (error instanceof oauth.WWWAuthenticateChallengeError) {
      const [{ parameters }] = error.cause;
      return { status: error.status, headers: Object.fromEntries(error.response.headers), challenge: parameters };
    }
    if (error instanceof oauth.ResponseBodyError) return { status: error.status, error: error.error };
    // This is all that fetch tells a page about an answer that it may not read.
    if (error instanceof TypeError && !error.code) return { unreadable: true };
    throw error;
  }
}
