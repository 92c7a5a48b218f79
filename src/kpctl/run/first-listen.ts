import { setTimeout as delay } from 'node:timers/promises';

/** Callers of a claimed port are held back for at most this long while the command starts. */
const START_MILLISECONDS = 15_000;

/**
 * `run --port` claims before its command starts, so that a claim that fails starts nothing. Until the command listens
 * for the first time, callers wait instead of being reset; after that a port that is closed resets as any.
 */
export class FirstListen {
  readonly #pending = new Map<number, { readonly listening: Promise<void>; readonly resolve: () => void }>();
  readonly #began = performance.now();
  readonly #milliseconds: number;

  constructor(ports: Iterable<number>, milliseconds: number = START_MILLISECONDS) {
    this.#milliseconds = milliseconds;
    for (const port of ports) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#pending.set(port, { listening: promise, resolve });
    }
  }

  /** Ports that are reachable on the laptop's loopback now. */
  changed(ports: readonly number[]): void {
    for (const port of ports) {
      this.#pending.get(port)?.resolve();
      this.#pending.delete(port);
    }
  }

  /** Resolves when the port may be dialled: it listened once, or the time for that is up. */
  async wait(port: number, signal: AbortSignal): Promise<void> {
    const pending = this.#pending.get(port);
    const left = this.#milliseconds - (performance.now() - this.#began);
    if (pending === undefined || left <= 0) return;
    const timer = new AbortController();
    try {
      await Promise.race([pending.listening, delay(left, undefined, { signal: AbortSignal.any([signal, timer.signal]) })]);
    } finally {
      timer.abort();
    }
  }
}
