import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { DialError } from '../../../forwarder/index.ts';
import type { AbortOptions } from '../../../platform/abort.ts';

/** Callers of a claimed port are held back for at most this long while COMMAND starts. */
const START_MILLISECONDS = 15_000;
const AGAIN_MILLISECONDS = 100;

/**
 * `FirstListen` for a command in the laptop's own network, where nobody tells when it listens: until a port has taken its first connection, one
 * that is refused is tried again, for as long as a command may take to start.
 */
export class FirstAnswer {
  readonly #answered = new Set<number>();
  readonly #began = performance.now();
  readonly #dial: (port: number, options: AbortOptions) => Promise<Socket>;
  readonly #milliseconds: number;

  constructor(dial: (port: number, options: AbortOptions) => Promise<Socket>, milliseconds: number = START_MILLISECONDS) {
    this.#dial = dial;
    this.#milliseconds = milliseconds;
  }

  /** Rejects with a DialError, or with the signal's reason. */
  async dial(port: number, options: AbortOptions = {}): Promise<Socket> {
    for (;;) {
      try {
        const socket = await this.#dial(port, options);
        this.#answered.add(port);
        return socket;
      } catch (error) {
        const starting = !this.#answered.has(port) && performance.now() - this.#began < this.#milliseconds;
        if (!starting || !(error instanceof DialError) || error.errorClass !== 'refused') throw error;
        await delay(AGAIN_MILLISECONDS, undefined, options);
      }
    }
  }
}
