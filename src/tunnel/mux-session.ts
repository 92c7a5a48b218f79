import type { Duplex } from 'node:stream';
import type { AbortOptions } from '../platform/abort.ts';
import { Associations } from './associations.ts';
import { Calls } from './calls.ts';
import { OpenError, ProtocolError } from './errors.ts';
import type { FrameBatch } from './frame-batch.ts';
import { FrameType, limits, ResetCode, type Feature } from './frames.ts';
import { peerOf, type ReceivedHello } from './hello.ts';
import { Opening } from './opening.ts';
import { abortedError, causeOf, lostError, IncomingOpens, OutgoingOpens, PendingIncoming, type IncomingHost } from './pending.ts';
import { Link, type LinkOwner } from './link.ts';
import type { MuxSettings } from './mux-settings.ts';
import { decodeOpen, decodeRefusal, encodeOpen, encodeRefusal, type Refusal } from './open-messages.ts';
import { Numbers } from './numbers.ts';
import { MuxStream, type StreamHost } from './stream.ts';
import { ReceiveWindows } from './receive-window.ts';
import { Turns } from './turns.ts';
import type {
  DatagramCounters,
  OpeningStream,
  OpenRequest,
  Peer,
  Session,
  SessionEnd,
  SessionHandlers,
  TunnelAssociation,
  TunnelStream,
} from './types.ts';

const NO_PAYLOAD = Buffer.alloc(0);

/** Streams and requests over one link: credit, the order in which streams send, and who waits for which answer. */
export class MuxSession implements Session, LinkOwner, StreamHost, IncomingHost {
  readonly id: string;
  readonly peer: Peer;
  readonly ended: Promise<SessionEnd>;
  readonly #handlers: SessionHandlers;
  readonly #link: Link;
  readonly #calls: Calls;
  readonly #numbers: Numbers;
  readonly #associations: Associations;
  readonly #windows: ReceiveWindows;
  readonly #peerWindow: number;
  /** The feature `early-data` is in force. */
  readonly #earlyData: boolean;
  readonly #resolveEnded: (end: SessionEnd) => void;
  readonly #streams = new Map<number, MuxStream>();
  readonly #outgoing = new OutgoingOpens();
  readonly #incoming = new IncomingOpens();
  readonly #turns = new Turns();
  /** Streams that may be due for `drain`. */
  #drainable: MuxStream[] = [];
  #endCause: Error | undefined;

  constructor(duplex: Duplex, received: ReceivedHello, settings: MuxSettings, handlers: SessionHandlers) {
    this.id = settings.id;
    this.peer = peerOf(received.hello);
    this.#handlers = handlers;
    this.#windows = new ReceiveWindows(settings.window);
    this.#peerWindow = received.hello.window;
    this.#numbers = new Numbers(settings.side);
    const { promise, resolve } = Promise.withResolvers<SessionEnd>();
    this.ended = promise;
    this.#resolveEnded = resolve;
    this.#link = new Link(duplex, this, settings.times);
    const inForce = (feature: Feature): boolean => settings.features.includes(feature) && received.hello.features.includes(feature);
    this.#earlyData = inForce('early-data');
    this.#associations = new Associations(this.#link, this.#numbers, inForce('datagrams'), handlers.incomingAssociation?.bind(handlers));
    this.#calls = new Calls(handlers, (type, id, payload) => this.#link.send(type, id, payload));
  }

  get activeStreams(): number {
    return this.#streams.size;
  }

  get lastHeard(): number {
    return this.#link.lastHeard;
  }

  get congested(): boolean {
    return this.#link.congested;
  }

  /** Begins to read; `rest` came behind the HELLO. */
  start(rest: Buffer): void {
    this.#link.start(rest);
  }

  beginOpen(request: OpenRequest, options: AbortOptions = {}): OpeningStream {
    const { signal } = options;
    if (this.#endCause !== undefined) throw lostError(this.#endCause);
    if (signal?.aborted === true) throw abortedError(signal);
    const id = this.#numbers.take() ?? this.#usedUp();
    const stream = new MuxStream(id, this, this.#peerWindow, this.#windows.open());
    const answer = this.#outgoing.answerTo(stream, signal, () => this.#sendReset(id, ResetCode.application));
    this.#link.send(FrameType.open, id, encodeOpen(request));
    // Credit is never used up by early data: what is done about that belongs to a stream that is open.
    return new Opening(stream, answer, this.#earlyData ? Math.min(limits.earlyBytes, this.#peerWindow - 1) : 0);
  }

  async open(request: OpenRequest, options: AbortOptions = {}): Promise<TunnelStream> {
    return this.beginOpen(request, options).answer;
  }

  openAssociation(request: OpenRequest): TunnelAssociation {
    if (this.#endCause !== undefined) throw lostError(this.#endCause);
    return this.#associations.open(request) ?? this.#usedUp();
  }

  get datagrams(): DatagramCounters {
    return this.#associations.counters;
  }

  async request(method: string, parameters: unknown, options?: AbortOptions): Promise<unknown> {
    return this.#calls.request(method, parameters, options);
  }

  notify(method: string, parameters: unknown): void {
    this.#calls.notify(method, parameters);
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  abort(cause: Error): void {
    this.#link.abort(cause);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // What the link calls.

  data(id: number, slice: Buffer, flags: number): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined) {
      stream.receivedData(slice, flags);
      return;
    }
    const incoming = this.#earlyData ? this.#incoming.get(id) : undefined;
    if (incoming === undefined) this.#checkAnswered(id, 'DATA');
    else incoming.receivedEarly(slice, flags);
  }

  datagram(id: number, payload: Buffer): void {
    if (this.#streams.has(id)) throw new ProtocolError(`DATAGRAM on stream ${id}`);
    this.#associations.receivedDatagram(id, payload);
  }

  frame(type: number, id: number, payload: Buffer): void {
    switch (type) {
      case FrameType.open:
        this.#receivedOpen(id, payload);
        return;
      case FrameType.accept:
      case FrameType.refuse:
        if (!this.#associations.receivedAnswer(type, id, payload)) this.#receivedAnswer(type, id, payload);
        return;
      case FrameType.credit:
        if (payload.length !== 4) throw new ProtocolError(`a CREDIT of ${payload.length} bytes`);
        this.#checkAnswered(id, 'CREDIT');
        this.#streams.get(id)?.receivedCredit(payload.readUInt32BE(0));
        return;
      case FrameType.reset:
        if (payload.length !== 1) throw new ProtocolError(`a RESET of ${payload.length} bytes`);
        this.#checkKnown(id, 'RESET');
        if (!this.#associations.receivedReset(id)) this.#receivedReset(id, payload.readUInt8(0));
        return;
      default:
        this.#calls.received(type, id, payload);
    }
  }

  writeNext(batch: FrameBatch): boolean {
    const stream = this.#turns.next();
    if (stream === undefined) return false;
    stream.writeFrame(batch);
    if (stream.sendable) this.enqueue(stream);
    if (stream.drainDue) this.#drainable.push(stream);
    return true;
  }

  writable(): void {
    const due = this.#drainable;
    if (due.length === 0) return;
    this.#drainable = [];
    for (const stream of due) if (stream.drainDue) stream.drained();
  }

  linkEnded(end: SessionEnd): void {
    const cause = causeOf(end);
    this.#endCause = cause;
    this.#turns.clear();
    this.#drainable = [];
    this.#outgoing.lost(cause);
    this.#incoming.lost(cause);
    for (const stream of this.#streams.values()) stream.receivedReset('session-lost');
    this.#associations.lost();
    this.#calls.close(cause);
    this.#resolveEnded(end);
  }

  // What streams call.

  enqueue(stream: MuxStream): void {
    if (this.#turns.join(stream)) this.#link.schedule();
  }

  sendCredit(stream: MuxStream, bytes: number): void {
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(bytes);
    this.#link.send(FrameType.credit, stream.id, payload);
  }

  sendReset(stream: MuxStream, code: number): void {
    this.#sendReset(stream.id, code);
  }

  finished(stream: MuxStream): void {
    if (this.#streams.delete(stream.id) && !this.#numbers.isOurs(stream.id)) this.#incoming.ended();
  }

  // What incoming streams call.

  accepted(incoming: PendingIncoming): TunnelStream {
    const stream = new MuxStream(incoming.id, this, this.#peerWindow, this.#windows.open());
    if (this.#incoming.accepted(incoming.id)) {
      this.#streams.set(incoming.id, stream);
      this.#link.send(FrameType.accept, incoming.id, NO_PAYLOAD);
      for (const chunk of incoming.takeEarly()) stream.receivedData(chunk, 0);
    } else stream.receivedReset(this.#endCause === undefined ? 'peer' : 'session-lost');
    return stream;
  }

  refused(incoming: PendingIncoming, refusal: Refusal): void {
    if (this.#incoming.refused(incoming.id)) this.#link.send(FrameType.refuse, incoming.id, encodeRefusal(refusal));
  }

  #receivedOpen(id: number, payload: Buffer): void {
    this.#numbers.arrived(id);
    const open = decodeOpen(payload);
    if ('errorClass' in open) {
      this.#link.send(FrameType.refuse, id, encodeRefusal(open));
      return;
    }
    if (open.protocol === 'udp') {
      this.#associations.receivedOpen(id, open.request);
      return;
    }
    if (this.#incoming.full) {
      this.#link.send(FrameType.refuse, id, encodeRefusal({ errorClass: 'failed', message: 'too many streams at once' }));
      return;
    }
    const incoming = new PendingIncoming(id, open.request, this);
    this.#incoming.add(incoming);
    this.#handlers.incoming(incoming);
  }

  #receivedAnswer(type: number, id: number, payload: Buffer): void {
    if (!this.#numbers.isOurs(id) || !this.#numbers.wasOpened(id))
      throw new ProtocolError(`an answer to stream ${id}, which was not opened`);
    if (this.#streams.has(id)) throw new ProtocolError(`a second answer to stream ${id}`);
    if (type === FrameType.refuse) this.#outgoing.refused(id, decodeRefusal(payload));
    else this.#outgoing.accepted(id, (stream) => this.#streams.set(id, stream));
  }

  #receivedReset(id: number, code: number): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined) {
      stream.receivedReset(code === ResetCode.protocol ? 'protocol' : 'peer');
      return;
    }
    this.#incoming.cancelled(id);
  }

  #sendReset(id: number, code: number): void {
    this.#link.send(FrameType.reset, id, Buffer.of(code));
  }

  /** Frames may cross a RESET on the way, so closed streams are passed over; a number never opened is an error. */
  #checkKnown(id: number, frame: string): void {
    if (!this.#numbers.wasOpened(id) || this.#outgoing.has(id)) throw new ProtocolError(`${frame} on stream ${id}, which is not open`);
  }

  #checkAnswered(id: number, frame: string): void {
    this.#checkKnown(id, frame);
    if (this.#incoming.get(id) !== undefined) throw new ProtocolError(`${frame} on stream ${id} before it was accepted`);
    if (this.#associations.has(id)) throw new ProtocolError(`${frame} on association ${id}`);
  }

  #usedUp(): never {
    this.abort(new Error('the session has used up its stream numbers'));
    throw new OpenError('lost', 'the session has used up its stream numbers');
  }
}
