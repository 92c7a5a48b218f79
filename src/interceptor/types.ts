import type { Socket } from 'node:net';
import type { Closeable } from '../platform/owned.ts';
import type { Endpoint } from '../tunnel/types.ts';

/** One captured TCP connection. The socket is paused and nothing has been read from it. */
export interface Flow {
  readonly socket: Socket;
  readonly source: Endpoint;
  /** The original destination: where the client wanted to go. */
  readonly destination: Endpoint;
}

/**
 * Captures flows. One interface, several ways: REDIRECT with SO_ORIGINAL_DST, a transparent listener, a plain
 * listener. `allowHalfOpen` is true on every socket it hands out; the receiver owns the socket from then on.
 */
export interface Interceptor extends Closeable {
  /** For messages: `REDIRECT on 0.0.0.0:15306`. */
  readonly description: string;
  /** Stops accepting; flows that were handed out go on. */
  close(): Promise<void>;
}

/** Called for every captured flow. */
export type FlowHandler = (flow: Flow) => void;
