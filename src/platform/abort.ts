/** Options of everything that waits (the habit of libp2p: the last argument of every async call). */
export interface AbortOptions {
  readonly signal?: AbortSignal;
}

/** A signal that aborts with `signal` (if there is one) or after `milliseconds`. The timer does not hold the process. */
export function deadline(milliseconds: number, signal?: AbortSignal): AbortSignal {
  if (signal === undefined) return AbortSignal.timeout(milliseconds);
  if (signal.aborted) return signal;
  // Not AbortSignal.any with a timeout: put together with others once more, it is never collected (Node 24), and a process that asks for the same
  // thing every two seconds for weeks has not that much memory.
  const controller = new AbortController();
  const timer = setTimeout(() => end(new DOMException('The operation was aborted due to timeout', 'TimeoutError')), milliseconds).unref();
  const onAbort = (): void => end(signal.reason);
  function end(reason: unknown): void {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    controller.abort(reason);
  }
  signal.addEventListener('abort', onAbort, { once: true });
  return controller.signal;
}
