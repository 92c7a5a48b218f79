import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { requireProgram } from '../../../platform/programs.ts';

/**
 * A session of nft(8) whose tables with the flag `owner` (Linux 5.12) are gone when this process is, however it ends: nft ends with its standard
 * input, and the kernel then removes what it owned.
 */
export class OwnedRules {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #lines: string[] = [];
  #marks = 0;
  #waiting: { readonly mark: string; readonly done: PromiseWithResolvers<void> } | undefined;

  constructor() {
    this.#child = spawn(requireProgram('nft', 'nftables'), ['-i'], {
      stdio: ['pipe', 'ignore', 'pipe'],
      // Without a home that could hold its history (.nft.history).
      env: { LC_ALL: 'C', TERM: 'dumb', HOME: '/dev/null' },
      cwd: '/',
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#exited = promise;
    this.#child.stdin?.on('error', () => undefined);
    if (this.#child.stderr !== null) createInterface({ input: this.#child.stderr }).on('line', (line) => this.#read(line));
    const end = (): void => {
      this.#waiting?.done.reject(new Error(`nft has ended: ${this.#lines.join(' ')}`));
      resolve();
    };
    this.#child.on('error', end);
    this.#child.on('close', end);
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null && this.#child.pid !== undefined;
  }

  /** Runs commands, one a line, each by itself. Rejects with nft's words when it takes one not; the others are done. One call at a time. */
  async execute(commands: readonly string[]): Promise<void> {
    this.#lines.length = 0;
    // nft says nothing when it has done something. It reads in order: its complaint about this word comes after all others.
    const mark = `end-${(this.#marks += 1)}`;
    const done = Promise.withResolvers<void>();
    this.#waiting = { mark, done };
    const timer = setTimeout(() => done.reject(new Error('nft does not answer')), 5000);
    this.#child.stdin?.write(`${[...commands, mark].join('\n')}\n`);
    try {
      await done.promise;
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  /** Resolves when nft has ended and the kernel has removed its tables. */
  async close(): Promise<void> {
    this.#child.stdin?.end();
    await this.#exited;
  }

  /** An error is three lines: what, the command, carets below the word. */
  #read(line: string): void {
    if (this.#waiting === undefined || line !== this.#waiting.mark) {
      if (!/^\s*\^+~*\s*$/.test(line)) this.#lines.push(line);
      return;
    }
    this.#lines.pop();
    if (this.#lines.length === 0) this.#waiting.done.resolve();
    else this.#waiting.done.reject(new Error(this.#lines.join('; ')));
  }
}
