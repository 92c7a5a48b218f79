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

/** What a stream or an association is for; the payload of OPEN. `protocol` is not part of it in code: a stream is TCP, an association UDP. */
export type OpenRequest =
  /** From the laptop to the pod: dial `destination` from the pod. `source` is the local flow's, for logs. */
  | { readonly kind: 'dial'; readonly destination: Endpoint; readonly source?: Endpoint }
  /**
   * From the pod to the laptop: a flow to `destination`, which the laptop's session has claimed. `outbound`: the pod's own call of
   * another address; otherwise somebody's call of the pod.
   */
  | { readonly kind: 'claimed'; readonly destination: Endpoint; readonly source: Endpoint; readonly outbound?: true };

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

/** A stream of ours that waits for the far end's answer. */
export interface OpeningStream {
  /** How many bytes may be sent before the answer now; 0 where the far end does not know how. */
  readonly earlyRoom: number;
  /**
   * Sends the first bytes, `earlyRoom` at most: the far end keeps them until it has accepted, and drops them if it refuses. The stream goes on
   * behind them. Saves the time that an answer takes. The buffer must not be changed afterwards.
   */
  sendEarly(chunk: Buffer): void;
  /** Resolves when the far end has dialled and accepted. Rejects with `OpenError` (class and message), also when the session is lost meanwhile (class `lost`). */
  readonly answer: Promise<TunnelStream>;
}

/** Receives what the far end of an association sends. Called synchronously from the transport's reads: do not block. */
export interface DatagramSink {
  /** One datagram, whole; the buffer is the receiver's to keep. */
  datagram(payload: Buffer): void;
  /** The association has ended: closed by the far end, refused, or lost with the session. Nothing follows. */
  closed(reason: AssociationEnd): void;
}

/** Why an association has ended at the far end's side. */
export type AssociationEnd =
  | { readonly kind: 'closed' }
  | ({ readonly kind: 'refused' } & AssociationRefusal)
  | { readonly kind: 'session-lost' };

/** One UDP association inside a session: datagrams between one source and one destination. No credit, no order, no queue. */
export interface TunnelAssociation {
  readonly id: number;
  /** Sets the receiver. Set once, directly after open or accept. */
  attach(sink: DatagramSink): void;
  /**
   * Sends one datagram of at most 65,507 bytes (RFC 768 over IPv4); the buffer must not be changed afterwards. False: it was dropped,
   * because the transport is slow or it is too large (counted in `Session.datagrams`), or because the association has ended.
   */
  send(payload: Buffer): boolean;
  /** Ends it at both ends. The accepter may say why: the opener learns it as a refusal, also long after the answer. */
  close(refusal?: AssociationRefusal): void;
}

/** Why a destination takes no datagrams (any more). */
export interface AssociationRefusal {
  readonly errorClass: DialErrorClass;
  readonly message: string;
}

/** An association that the far end opens, to be answered by exactly one of the two. Datagrams that came before the answer are kept (a few). */
export interface IncomingAssociation {
  readonly request: OpenRequest;
  accept(): TunnelAssociation;
  refuse(error: DialErrorClass, message: string): void;
}

/** What became of a session's datagrams. */
export interface DatagramCounters {
  readonly sent: number;
  readonly received: number;
  /** Dropped here: the transport was slow, it was too large, or its association was not ready for it or has ended. */
  readonly dropped: number;
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
  /** Of a pod: its name servers and search domains, by which a laptop learns the cluster's domain and DNS without any right. */
  readonly names?: PeerNames;
}

/** What a pod's resolv.conf(5) says. */
export interface PeerNames {
  /** Addresses, to be asked at port 53 from that pod. */
  readonly servers: readonly string[];
  readonly search: readonly string[];
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
  /** A UDP association that the far end opens. Without this handler it is refused as `unsupported`. */
  incomingAssociation?(association: IncomingAssociation): void;
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
  /** Asks the far end for a stream. Throws `OpenError` where the session has ended. */
  beginOpen(request: OpenRequest, options?: AbortOptions): OpeningStream;
  /** The answer to {@link beginOpen}, for who has nothing to send before it. */
  open(request: OpenRequest, options?: AbortOptions): Promise<TunnelStream>;
  /**
   * Opens a UDP association; it may be sent to at once (the far end keeps a few datagrams until it has answered). Throws `OpenError`:
   * class `unsupported` when the far end does not know datagrams, `lost` when the session has ended, `failed` at the limit of associations.
   */
  openAssociation(request: OpenRequest): TunnelAssociation;
  readonly datagrams: DatagramCounters;
  /** A question to the far end, answered by its `request` handler; JSON both ways; rejects with `RequestError`. */
  request(method: string, parameters: unknown, options?: AbortOptions): Promise<unknown>;
  notify(method: string, parameters: unknown): void;
  /** Says goodbye, resets what is still open, waits until that is written, ends the transport. */
  close(): Promise<void>;
  /** Drops the transport at once, without a goodbye. */
  abort(cause: Error): void;
}
