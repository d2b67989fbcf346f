// The signing keys of the server: one per algorithm family, replaced at run time by the control port.
import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';

const generate = promisify(generateKeyPair);

const families = {
  RS256: () => generate('rsa', { modulusLength: 2048 }),
  PS256: () => generate('rsa', { modulusLength: 2048 }),
  ES256: () => generate('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generate('ed25519'),
};

export async function newJwk(family, kid) {
  const { privateKey } = await families[family]();
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig' };
  // An Ed25519 key names no algorithm: it serves `EdDSA` and, by RFC 9864, `Ed25519`.
  return family === 'EdDSA' ? jwk : { ...jwk, alg: family };
}

export function publicJwk({ d, p, q, dp, dq, qi, ...jwk }) {
  return jwk;
}

export class KeyRing {
  #generation = 1;
  #keys = []; // private JWKs, the ones that sign come first

  static async create() {
    const ring = new KeyRing();
    ring.#keys = await ring.#newKeys();
    return ring;
  }

  get privateJwks() {
    return structuredClone(this.#keys);
  }

  /** New keys under new names; they sign from now on. The old ones stay published if asked for. */
  async rotate({ keepOld }) {
    this.#generation += 1;
    this.#keys = [...await this.#newKeys(), ...(keepOld ? this.#keys : [])];
  }

  /** New keys under the old names, as after a restart of a server that keeps its keys in memory. */
  async restart() {
    this.#keys = await this.#newKeys();
  }

  signingKey(alg) {
    const family = alg === 'Ed25519' ? 'EdDSA' : alg;
    return this.#keys.find((key) => key.kid.startsWith(`${family.toLowerCase()}-`));
  }

  #newKeys() {
    return Promise.all(
      Object.keys(families).map((family) => newJwk(family, `${family.toLowerCase()}-${this.#generation}`)),
    );
  }
}
