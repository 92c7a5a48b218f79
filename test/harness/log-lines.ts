import type { ChildProcess } from 'node:child_process';

/** Longer than any program that the tests start needs, on a busy machine, in milliseconds. */
const DEFAULT_PATIENCE = 30_000;

/** What a process writes, line by line: for waiting until it says something. */
export class LogLines {
  readonly #name: string;
  readonly #lines: string[] = [];
  readonly #watchers = new Set<() => void>();
  /** Its streams have ended: an exit alone may have lines behind it. */
  #closed = false;

  constructor(name: string, child: ChildProcess) {
    this.#name = name;
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream?.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        this.#lines.push(...lines);
        for (const watch of this.#watchers) watch();
      });
    }
    child.once('close', () => {
      this.#closed = true;
      for (const watch of this.#watchers) watch();
    });
  }

  /** Resolves with the first line, past or future, that has `text`. Rejects with all lines when the process ends without, or takes too long. */
  async until(text: string, patience = DEFAULT_PATIENCE): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const problem = (): Error => new Error(`${this.#name} did not say "${text}": ${this.#lines.join('\n')}`);
    const look = (): void => {
      const line = this.#lines.find((candidate) => candidate.includes(text));
      if (line !== undefined) resolve(line);
      else if (this.#closed) reject(problem());
    };
    const timer = setTimeout(() => reject(problem()), patience);
    this.#watchers.add(look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#watchers.delete(look);
    }
  }
}
