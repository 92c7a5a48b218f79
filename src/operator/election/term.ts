import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../platform/errors.ts';
import { OwnedStack, type Closeable } from '../../platform/owned.ts';
import type { LeaderContext, LeaderTask } from '../leader-task.ts';

const FIRST_PAUSE_MILLISECONDS = 1_000;
const LAST_PAUSE_MILLISECONDS = 60_000;

/** One term as leader: starts every task, again and again where that fails, and closes them all when the term ends. */
export class Term implements Closeable {
  readonly #running = new OwnedStack();
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  constructor(tasks: readonly LeaderTask[], context: LeaderContext) {
    for (const task of tasks) void this.#start(task, context);
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close();
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    // A start that is still under way is not waited for: what it makes is closed at once.
    await this.#running.close();
  }

  /** Never rejects. */
  async #start(task: LeaderTask, context: LeaderContext): Promise<void> {
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        this.#running.use(await task.start(context));
        return;
      } catch (error) {
        if (signal.aborted) return;
        const pause = Math.min(LAST_PAUSE_MILLISECONDS, FIRST_PAUSE_MILLISECONDS * 2 ** failures);
        const cause = error instanceof Failure ? { reason: error.format() } : { err: error };
        context.log.warn({ task: task.name, pause, ...cause }, 'a task of the leader could not start, and is started again');
        await sleep(pause, undefined, { signal }).catch(() => {});
      }
    }
  }
}
