import { setTimeout as delay } from 'node:timers/promises';
import type { AbortOptions } from '../../platform/abort.ts';

/** Waits that double from 200 ms to 5 s, each varied by a fifth so that many laptops do not knock in step. */
export class Backoff {
  static readonly first = 200;
  static readonly longest = 5_000;
  #next: number = Backoff.first;

  /** Waits; rejects with an AbortError when the signal aborts. */
  async wait(options: AbortOptions = {}): Promise<void> {
    await delay(this.next(), undefined, options);
  }

  /** The next wait, in milliseconds. */
  next(): number {
    const milliseconds = this.#next * (0.8 + 0.4 * Math.random());
    this.#next = Math.min(this.#next * 2, Backoff.longest);
    return milliseconds;
  }
}
