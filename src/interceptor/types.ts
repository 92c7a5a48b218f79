import type { Socket } from 'node:net';
import type { Closeable } from '../platform/owned.ts';
import type { Endpoint } from '../tunnel/types.ts';

/** One captured TCP connection. The socket is paused and nothing has been read from it. */
export interface Flow {
  readonly socket: Socket;
  readonly source: Endpoint;
  /** The original destination: where the client wanted to go. */
  readonly destination: Endpoint;
  /** The pod's own call of another address; without it somebody's call of the pod. */
  readonly outbound?: true;
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

/**
 * An interceptor that captures only while it is open; while it is not, the kernel takes the packets to the app. Both calls may be
 * made at any time, also while the other is still at work.
 */
export interface SwitchedInterceptor extends Interceptor {
  /** Resolves when new flows are captured. Rejects with the system's error. */
  open(): Promise<void>;
  /** New flows are the app's from now on. Resolves when those that had begun before have all been handed out, or it was opened again. */
  release(): Promise<void>;
}

/** Called for every captured flow. */
export type FlowHandler = (flow: Flow) => void;

/** What interceptors have turned away; for the metrics. */
export interface InterceptorCounters {
  /** Connections that were reset because somebody dialled a port of kpeering itself. */
  ownPortDials: number;
}
