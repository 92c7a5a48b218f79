import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { messageOf } from '../platform/errors.ts';
import type { Closeable } from '../platform/owned.ts';

/**
 * What has worked is silent. So each change is followed by this word, which means nothing: nft quotes it when it complains, on the same stream
 * as all its complaints, and after those about the change.
 */
const MARK = 'kpeering_change';

/** One change at most is under way; a kernel that has not answered by then is not going to. */
const ANSWER_MILLISECONDS = 10_000;

/**
 * An interactive nft (nft(8), `-i`), which holds what is its own: a table with `flags owner` is removed by the kernel when the
 * process that made it ends, however it ends, and nft ends with its standard input, so with us (Linux 5.12 and newer).
 */
export class NftSession implements Closeable {
  /** Resolves when the process is no more, and with it its tables. */
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  #output = '';
  #changes = 0;
  #waiting: ((error?: Error) => void) | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #over = false;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.ended = new Promise((resolve) => {
      const over = (why: string): void => {
        this.#over = true;
        this.#waiting?.(new Error(`nft has ended: ${[why, this.#output.trim()].filter((text) => text !== '').join(': ')}`));
        resolve();
      };
      child.once('close', (code, signal) => over(signal ?? (code === 0 ? '' : `exit code ${code}`)));
      child.on('error', (error) => over(messageOf(error)));
    });
    child.stdout?.resume();
    child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#printed(text));
    // It has ended: `ended` tells.
    child.stdin?.on('error', () => undefined);
  }

  /** `program`: the path of nft. Rejects with the system's error. */
  static async start(program: string): Promise<NftSession> {
    const child = spawn(program, ['-i'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      // Without a home that could hold it: it keeps a history of what it was told (.nft.history). We read its complaints in English.
      env: { PATH: process.env['PATH'], LC_ALL: 'C', TERM: 'dumb', HOME: '/dev/null' },
    });
    const session = new NftSession(child);
    await once(child, 'spawn');
    return session;
  }

  /** Gives nft statements, which are one transaction. Rejects with what nft says against them: nothing has changed then. */
  async run(statements: readonly string[]): Promise<void> {
    const run = this.#queue.then(async () => this.#run(statements));
    this.#queue = run.catch(() => undefined);
    await run;
  }

  /** Ends nft; what it owns is gone when this resolves. */
  async close(): Promise<void> {
    this.#child.stdin?.end();
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(statements: readonly string[]): Promise<void> {
    if (this.#over) throw new Error('nft has ended');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      reject(new Error('nft does not answer'));
      // What it has done nobody knows: with it its table ends.
      this.#child.kill('SIGKILL');
    }, ANSWER_MILLISECONDS);
    this.#output = '';
    this.#changes += 1;
    this.#waiting = (error) => (error === undefined ? resolve() : reject(error));
    this.#child.stdin?.write(`${statements.join('; ')}\n${MARK}_${this.#changes}\n`);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  #printed(text: string): void {
    this.#output += text;
    const lines = this.#output.split('\n');
    const mark = lines.indexOf(`${MARK}_${this.#changes}`);
    if (mark === -1 || this.#waiting === undefined) return;
    // The line before it is the complaint about the mark. What is no error is a library's: "Cannot read termcap database".
    const error = lines.slice(0, Math.max(0, mark - 1)).find((line) => line.includes('Error: '));
    this.#waiting(error === undefined ? undefined : new Error(error.replace(/^.*Error: /u, '')));
  }
}
