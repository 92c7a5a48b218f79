/** Options of everything that waits (the habit of libp2p: the last argument of every async call). */
export interface AbortOptions {
  readonly signal?: AbortSignal;
}

/** A signal that aborts with `signal` (if there is one) or after `milliseconds`. The timer does not hold the process. */
export function deadline(milliseconds: number, signal?: AbortSignal): AbortSignal {
  const timeout = AbortSignal.timeout(milliseconds);
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
}
