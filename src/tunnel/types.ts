import type { Duplex } from 'node:stream';
import type { AbortOptions } from '../platform/abort.ts';
import type { Closeable } from '../platform/owned.ts';

/**
 * What carries a session now. Where the duplex comes from (a port-forward of the API server, TCP, TLS) is
 * supplied from outside, so `tunnel/` knows no kubeconfig.
 */
export interface Transport {
  /** For messages: `port-forward shop/web-7d9:15310 (SPDY)`. */
  readonly description: string;
  connect(options?: AbortOptions): Promise<Duplex>;
}

/** Why a destination could not be reached: what OPEN is answered with, and what a captured client's reset stands for. */
export type DialErrorClass = 'refused' | 'unreachable' | 'timeout' | 'denied' | 'unsupported' | 'failed';

/** An address as `socket.remoteAddress` and `remotePort` give it. IPv4-mapped IPv6 addresses are written as IPv4. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What a stream is for; the payload of OPEN. */
export type OpenRequest =
  /** From the laptop to the pod: dial `destination` from the pod. `source` is the local flow's, for logs. */
  | { readonly kind: 'dial'; readonly destination: Endpoint; readonly source?: Endpoint }
  /** From the pod to the laptop: a flow to `destination`, whose port the laptop's session has claimed. */
  | { readonly kind: 'claimed'; readonly destination: Endpoint; readonly source: Endpoint };

/** Receives what the far end of a stream sends. Called synchronously from the transport's reads: do not block. */
export interface StreamSink {
  /** The chunk is the receiver's to keep, without copying. Give its length back by `consumed` once it has been passed on. */
  data(chunk: Buffer): void;
  /** The far end's half-close: no more data. */
  end(): void;
  /** The stream was reset by the far end or because the session was lost. Nothing follows. */
  reset(reason: StreamResetReason): void;
  /** After `write` has answered false: more may be written. */
  drain(): void;
}

export type StreamResetReason = 'peer' | 'session-lost' | 'protocol';

/** One flow inside a session, with its own credit. */
export interface TunnelStream {
  readonly id: number;
  /** Sets the receiver; what came before is delivered to it in order. Set once, directly after open or accept. */
  attach(sink: StreamSink): void;
  /** Takes the chunk in any case (it must not be changed afterwards); false: wait for `drain` before the next one. */
  write(chunk: Buffer): boolean;
  /** Half-close, after all that was written. */
  end(): void;
  /** Aborts both directions at once. */
  reset(): void;
  /** Returns credit to the far end. */
  consumed(bytes: number): void;
}

/** An OPEN from the far end, to be answered by exactly one of the two. Dial first, then accept. */
export interface IncomingStream {
  readonly request: OpenRequest;
  /** Aborts when the far end gave up waiting, or the session was lost. */
  readonly signal: AbortSignal;
  accept(): TunnelStream;
  refuse(error: DialErrorClass, message: string): void;
}

/** Who is at the far end, from its HELLO. */
export interface Peer {
  readonly role: 'laptop' | 'sidecar' | 'gateway';
  /** kpeering's version: `0.1.0`. */
  readonly software: string;
  /** Of a laptop: `alice@mbp`. Of a pod: `shop/web-7d9`. */
  readonly name: string;
  /** Of a laptop: the API server's name of the user, as far as it could be asked. */
  readonly user?: string;
}

/** Why a session's transport ended. */
export type SessionEnd =
  /** The far end said goodbye: its claims end at once. */
  | { readonly kind: 'goodbye' }
  /** We closed it. */
  | { readonly kind: 'closed' }
  /** The transport broke or fell silent. `lastHeard` is a `performance.now()` time: the claim grace counts from it. */
  | { readonly kind: 'lost'; readonly cause: Error; readonly lastHeard: number };

/** What a session calls on its owner. */
export interface SessionHandlers {
  /** A stream that the far end opens. */
  incoming(stream: IncomingStream): void;
  /**
   * A request of the far end (see `Session.request`). What it resolves with is sent back; a thrown
   * `RequestError` is sent with its code and details, anything else as code `internal`.
   */
  request(method: string, parameters: unknown, options: { readonly signal: AbortSignal }): Promise<unknown>;
  /** A one-way message of the far end. */
  notified(method: string, parameters: unknown): void;
}

/** One peer's tunnel over one transport. (Across transports from the issue that brings resume: `id` is ready for it.) */
export interface Session extends Closeable {
  /** Chosen by the laptop, 128 bits in hex; the same for the reconnects of one `kpctl`. */
  readonly id: string;
  readonly peer: Peer;
  /** Resolves once the transport has ended, for whatever reason; never rejects. */
  readonly ended: Promise<SessionEnd>;
  /** Streams that are open in either direction. */
  readonly activeStreams: number;
  /** `performance.now()` of the last frame heard. */
  readonly lastHeard: number;
  /** Resolves when the far end has dialled and accepted. Rejects with `OpenError` (class and message), also when the session is lost meanwhile (class `lost`). */
  open(request: OpenRequest, options?: AbortOptions): Promise<TunnelStream>;
  /** A question to the far end, answered by its `request` handler; JSON both ways; rejects with `RequestError`. */
  request(method: string, parameters: unknown, options?: AbortOptions): Promise<unknown>;
  notify(method: string, parameters: unknown): void;
  /** Says goodbye, resets what is still open, waits until that is written, ends the transport. */
  close(): Promise<void>;
  /** Drops the transport at once, without a goodbye. */
  abort(cause: Error): void;
}
