import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import { keyOf, type ClaimTable } from './claim-table.ts';
import type { ClaimTarget } from './messages.ts';

export interface StayingOptions {
  readonly table: ClaimTable;
  /**
   * What identifies each connection of this target that is with the app now. Asked when a claim begins, and every few seconds while
   * some of those that were there then are left.
   */
  readonly connections: (target: ClaimTarget) => Iterable<unknown>;
  readonly log: Logger;
  readonly pollMilliseconds?: number;
}

const DEFAULT_POLL_MILLISECONDS = 2000;

interface Watch {
  left: ReadonlySet<unknown>;
  readonly timer: NodeJS.Timeout;
}

/** Counts the connections that were there before a claim and stay with the app, and tells the claim's holder when the last one has ended. */
export class StayingConnections {
  readonly #options: StayingOptions;
  readonly #watches = new Map<string, Watch>();

  constructor(options: StayingOptions) {
    this.#options = options;
  }

  /** How many there are left; the first call for a claim looks, and watches them until the claim ends. */
  begin(target: ClaimTarget): number {
    const key = keyOf(target);
    const watched = this.#watches.get(key);
    if (watched !== undefined) return watched.left.size;
    const left = this.#look(target);
    if (left.size === 0) return 0;
    const timer = setInterval(() => this.#poll(target), this.#options.pollMilliseconds ?? DEFAULT_POLL_MILLISECONDS).unref();
    this.#watches.set(key, { left, timer });
    return left.size;
  }

  /** The claim has ended. */
  end(target: ClaimTarget): void {
    const key = keyOf(target);
    clearInterval(this.#watches.get(key)?.timer);
    this.#watches.delete(key);
  }

  #look(target: ClaimTarget): ReadonlySet<unknown> {
    try {
      return new Set(this.#options.connections(target));
    } catch (error) {
      this.#options.log.debug({ reason: messageOf(error) }, 'the kernel does not tell of connections');
      return new Set();
    }
  }

  #poll(target: ClaimTarget): void {
    const watch = this.#watches.get(keyOf(target));
    if (watch === undefined) return;
    if (watch.left.size > 0) {
      const now = this.#look(target);
      watch.left = new Set([...watch.left].filter((connection) => now.has(connection)));
    }
    if (watch.left.size > 0) return;
    const decision = this.#options.table.decide(target);
    // In grace: whoever holds it next is told.
    if (decision.kind !== 'session') return;
    clearInterval(watch.timer);
    decision.tenure.session.notify('staying-ended', target);
  }
}
