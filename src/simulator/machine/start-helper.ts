import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { receivedFailure, toFrontSchema, type FromFront, type ToFront } from './messages.ts';
import type { HelperEnd, HelperOptions, HelperProcess } from './types.ts';

const MOST_LAST_WORDS = 4096;

/**
 * Starts the helper, in a session of its own: the terminal's signals do not reach it. Resolves when it holds the lock and has started the agent.
 * Needs root. Rejects with a Failure: UP_RUNNING, LEFTOVERS_KEPT, PROGRAM_MISSING, MACHINE_SETUP_FAILED.
 */
export async function startHelper(options: HelperOptions, { signal }: AbortOptions = {}): Promise<HelperProcess> {
  signal?.throwIfAborted();
  const helper = new Helper(options);
  const abort = (): void => void helper.close();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await helper.started;
    return helper;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

class Helper implements HelperProcess {
  readonly started: Promise<void>;
  readonly exited: Promise<HelperEnd>;
  repaired: readonly string[] = [];
  readonly #child: ChildProcess;
  readonly #onReport: HelperOptions['onReport'];
  readonly #starting = Promise.withResolvers<void>();
  readonly #detaching = Promise.withResolvers<void>();
  #said: HelperEnd | undefined;
  #stderr = '';

  constructor({ caller, agent, onReport }: HelperOptions) {
    this.#onReport = onReport;
    this.started = this.#starting.promise;
    // Whoever waits for it sees it.
    this.#detaching.promise.catch(() => undefined);
    const program = fileURLToPath(new URL('../../../bin/kpctl-helper.js', import.meta.url));
    this.#child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
      detached: true,
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { PATH: process.env['PATH'], LC_ALL: 'C', ...(process.env['KPEERING_LOG'] && { KPEERING_LOG: process.env['KPEERING_LOG'] }) },
    });
    this.exited = new Promise((resolve) => {
      const over = (why: string): void => {
        const end = this.#said ?? { reason: 'failed', message: [this.#stderr.trim(), why].filter((text) => text !== '').join('; ') };
        const failure = new Failure('MACHINE_SETUP_FAILED', `the helper of kpctl up has ended: ${end.message}`);
        this.#starting.reject(failure);
        this.#detaching.reject(failure);
        resolve(end);
      };
      this.#child.once('close', (code, killed) => over(killed ?? `exit code ${code}`));
      this.#child.once('error', (error) => over(error.message));
    });
    this.#child.on('message', (message) => this.#receive(toFrontSchema.parse(message)));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr = (this.#stderr + text).slice(-MOST_LAST_WORDS)));
    this.#child.stderr?.on('error', () => undefined);
    this.#send({
      type: 'start',
      caller: { ...caller, groups: [...caller.groups], environment: { ...caller.environment } },
      agent: [...agent],
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async detach(): Promise<void> {
    this.#send({ type: 'detach' });
    await this.#detaching.promise;
    this.#child.stderr?.destroy();
    this.#child.disconnect();
    this.#child.unref();
  }

  async close(): Promise<void> {
    this.#send({ type: 'close' });
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #send(message: FromFront): void {
    // It has ended: `exited` tells.
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  #receive(message: ToFront): void {
    switch (message.type) {
      case 'started':
        this.repaired = message.repaired;
        this.#starting.resolve();
        break;
      case 'not-started':
        this.#starting.reject(receivedFailure(message.failure));
        break;
      case 'report':
        this.#onReport(message.message);
        break;
      case 'detached':
        this.#detaching.resolve();
        break;
      case 'ended':
        this.#said = { reason: message.reason, message: message.message };
        break;
    }
  }
}
