import { deadline, type AbortOptions } from '../platform/abort.ts';
import { Failure, messageOf } from '../platform/errors.ts';
import { NotSpokenError, portForwardFailure } from './port-forward-failures.ts';
import type { PodPort } from './types.ts';

/** How long the server may take, once the connection is upgraded. The kubelet answers before it dials. */
const OPENING_MILLISECONDS = 10_000;

export interface Opening extends AbortOptions {
  readonly target: PodPort;
  /** Of the upgraded connection. */
  readonly destroy: (error?: Error) => void;
  /** For the message, when nothing comes: `the server does not answer in SPDY`. */
  readonly silence: string;
}

/**
 * What a port-forward consists of, opened on an upgraded connection by `open`; the connection is destroyed when that fails. Rejects with a Failure of
 * the kubelet, with PORT_FORWARD_FAILED whose cause is a {@link NotSpokenError}, or with the signal's reason.
 */
export async function openPortForward<T>({ target, destroy, silence, signal }: Opening, open: () => Promise<T>): Promise<T> {
  const patience = deadline(OPENING_MILLISECONDS, signal);
  const onAbort = (): void => destroy(new NotSpokenError(silence));
  patience.addEventListener('abort', onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    return await open();
  } catch (error) {
    destroy();
    if (signal?.aborted === true) throw signal.reason;
    if (error instanceof Failure) throw error;
    throw portForwardFailure(target, messageOf(error), new NotSpokenError(messageOf(error), { cause: error }));
  } finally {
    patience.removeEventListener('abort', onAbort);
  }
}
