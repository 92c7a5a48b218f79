import type { EventEmitter } from 'node:events';

/** More than that nobody has sent in so short a time. */
const MOST = 1000;

/**
 * Keeps what an emitter tells while nobody listens, and gives it to the first who does: a name server's socket is there a moment before its
 * server, and a question that was lost costs its program five seconds (resolv.conf(5), timeout).
 */
export function holdUntilHeard(emitter: EventEmitter, event: string): void {
  const held: unknown[][] = [];
  const hold = (...values: unknown[]): void => {
    if (held.length < MOST) held.push(values);
  };
  const heard = (name: string | symbol): void => {
    if (name !== event) return;
    emitter.off('newListener', heard);
    emitter.off(event, hold);
    setImmediate(() => {
      for (const values of held) emitter.emit(event, ...values);
    });
  };
  emitter.on(event, hold);
  emitter.on('newListener', heard);
}
