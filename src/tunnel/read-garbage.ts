import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Node reads every socket into fresh buffers of 64 KiB outside of V8's heap. Copying makes hardly any objects *inside* the heap, so
 * the young generation never fills, and those buffers are freed only by full collections, which V8 starts when the memory outside
 * has grown by tens of MiB: several a second at full speed, a third of all CPU time, and 60 MiB of garbage. A collection of the young
 * generation frees the same buffers in under a millisecond; so one is asked for after this many bytes.
 */
const BYTES_BETWEEN_COLLECTIONS = 8 * 1024 * 1024;

let collect: (() => void) | undefined;
let bytesRead = 0;

/** Counts what was read from sockets in chunks that live shortly. */
export function countRead(bytes: number): void {
  bytesRead += bytes;
  if (bytesRead < BYTES_BETWEEN_COLLECTIONS) return;
  bytesRead = 0;
  collect ??= youngCollector();
  collect();
}

/** V8's own `gc` function, which exists only in contexts that are made while the flag is set. */
function youngCollector(): () => void {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof gc !== 'function') return () => undefined;
  return () => void Reflect.apply(gc, undefined, [{ type: 'minor' }]);
}
