import type { AbortOptions } from '../../platform/abort.ts';

/** Something changes now and then, and some wait for the next time. */
export class Changes {
  readonly #waiting = new Set<() => void>();

  /** Wakes all who wait. */
  tell(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** Resolves at the next change; rejects with the signal's reason. */
  async next({ signal }: AbortOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = (): void => reject(signal?.reason);
    this.#waiting.add(resolve);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      await promise;
    } finally {
      this.#waiting.delete(resolve);
      signal?.removeEventListener('abort', abort);
    }
  }
}
