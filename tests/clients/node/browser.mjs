// A Chromium without a window, spoken to in the DevTools protocol over a pair of pipes.
import { spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const DEADLINE_MS = 20_000;
const QUIET = [
  '--headless=new', '--disable-gpu', '--disable-dev-shm-usage', '--disable-extensions', '--disable-sync',
  '--disable-background-networking', '--disable-component-update', '--no-first-run', '--no-default-browser-check',
];

/** The path of a browser on this machine, or undefined. */
export function findBrowser() {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export class Browser {
  #child;
  #profile = mkdtempSync(join(tmpdir(), 'browser-'));
  #waiting = new Map(); // id -> { resolve, reject }
  #lastId = 0;

  /**
   * `hosts`: names and the address on this machine that each stands for; no other name is looked up. `trustedKey`:
   * SHA-256 of the one key whose certificate needs no authority, in base64.
   */
  constructor(path, { hosts, trustedKey }) {
    const rules = Object.entries(hosts).map(([host, address]) => `MAP ${host} ${address}`);
    this.#child = spawn(path, [
      ...QUIET,
      `--user-data-dir=${this.#profile}`,
      `--host-resolver-rules=${[...rules, 'MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1'].join(', ')}`,
      `--ignore-certificate-errors-spki-list=${trustedKey}`,
      '--no-proxy-server',
      '--remote-debugging-pipe',
      ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
    ], { stdio: ['ignore', 'ignore', process.env.TEST_BROWSER_LOG ? 'inherit' : 'ignore', 'pipe', 'pipe'] });
    this.#child.once('exit', () => this.#fail(new Error('the browser has ended')));
    this.#child.once('error', (error) => this.#fail(error));
    this.#child.stdio[3].on('error', () => {}); // it has ended: said above
    this.#read(this.#child.stdio[4]);
    process.once('exit', () => this.#child.kill('SIGKILL'));
  }

  #read(pipe) {
    let rest = Buffer.alloc(0);
    pipe.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        const { id, result, error } = JSON.parse(rest.subarray(0, end).toString());
        rest = rest.subarray(end + 1);
        const waiting = this.#waiting.get(id); // events have no id, and nobody waits for them
        this.#waiting.delete(id);
        if (error) waiting?.reject(new Error(error.message));
        else waiting?.resolve(result);
      }
    });
  }

  #fail(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  send(method, params = {}, sessionId = undefined) {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  /** A tab at `address`. */
  async open(address) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const tab = new Tab((method, params) => this.send(method, params, sessionId));
    await tab.go(address);
    return tab;
  }

  async close() {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.send('Browser.close').catch(() => {});
    await Promise.race([ended, delay(2000, undefined, { ref: false })]);
    this.#child.kill('SIGKILL');
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Tab {
  #send;

  constructor(send) {
    this.#send = send;
  }

  async go(url) {
    const { errorText } = await this.#send('Page.navigate', { url });
    if (errorText) throw new Error(`${errorText} at ${url}`);
  }

  /** The value of an expression in the page, as JSON has it; what it promises is waited for. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.#send('Runtime.evaluate', {
      expression, awaitPromise: true, returnByValue: true,
    });
    if (exceptionDetails) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  /** Evaluates until it gives something: a page that is on its way to another may not answer. */
  async eventually(expression) {
    const end = performance.now() + DEADLINE_MS;
    for (;;) {
      let last;
      try {
        last = await this.evaluate(expression);
        if (last) return last;
      } catch (error) {
        last = error;
      }
      if (performance.now() > end) throw new Error(`in vain: ${expression}\nlast: ${last}`);
      await delay(20);
    }
  }
}
