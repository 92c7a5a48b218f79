import type { Duplex } from 'node:stream';
import type { AbortOptions } from '../platform/abort.ts';
import { Calls } from './calls.ts';
import { OpenError, ProtocolError } from './errors.ts';
import type { FrameBatch } from './frame-batch.ts';
import { FrameType, limits, ResetCode } from './frames.ts';
import { peerOf, type ReceivedHello } from './hello.ts';
import { abortedError, causeOf, lostError, PendingIncoming, type IncomingHost, type PendingOutgoing } from './pending.ts';
import { Link, type LinkOwner } from './link.ts';
import type { LivenessTimes } from './liveness.ts';
import { decodeOpen, decodeRefusal, encodeOpen, encodeRefusal, type Refusal } from './open-messages.ts';
import { MuxStream, type StreamHost } from './stream.ts';
import { Turns } from './turns.ts';
import type { OpenRequest, Peer, Session, SessionEnd, SessionHandlers, TunnelStream } from './types.ts';

const NO_PAYLOAD = Buffer.alloc(0);
const LAST_STREAM = 0xffff_ffff;

/** How a session is set up, once both ends have said hello. */
export interface MuxSettings {
  readonly id: string;
  /** The laptop's streams have odd numbers, the pod's even ones. */
  readonly side: 'laptop' | 'pod';
  /** What our HELLO granted. */
  readonly window: number;
  readonly times: LivenessTimes;
}

/** Streams and requests over one link: credit, the order in which streams send, and who waits for which answer. */
export class MuxSession implements Session, LinkOwner, StreamHost, IncomingHost {
  readonly id: string;
  readonly peer: Peer;
  readonly ended: Promise<SessionEnd>;
  readonly #handlers: SessionHandlers;
  readonly #link: Link;
  readonly #calls: Calls;
  readonly #window: number;
  readonly #peerWindow: number;
  readonly #resolveEnded: (end: SessionEnd) => void;
  readonly #streams = new Map<number, MuxStream>();
  readonly #outgoing = new Map<number, PendingOutgoing>();
  readonly #incoming = new Map<number, PendingIncoming>();
  #incomingStreams = 0;
  readonly #turns = new Turns();
  /** Streams that may be due for `drain`. */
  #drainable: MuxStream[] = [];
  #nextId: number;
  #highestIncoming = 0;
  #endCause: Error | undefined;

  constructor(duplex: Duplex, received: ReceivedHello, settings: MuxSettings, handlers: SessionHandlers) {
    this.id = settings.id;
    this.peer = peerOf(received.hello);
    this.#handlers = handlers;
    this.#window = settings.window;
    this.#peerWindow = received.hello.window;
    this.#nextId = settings.side === 'laptop' ? 1 : 2;
    const { promise, resolve } = Promise.withResolvers<SessionEnd>();
    this.ended = promise;
    this.#resolveEnded = resolve;
    this.#link = new Link(duplex, this, settings.times);
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

  async open(request: OpenRequest, options: AbortOptions = {}): Promise<TunnelStream> {
    const { signal } = options;
    if (this.#endCause !== undefined) throw lostError(this.#endCause);
    if (signal?.aborted === true) throw abortedError(signal);
    const id = this.#nextId;
    if (id > LAST_STREAM) {
      this.abort(new Error('the session has used up its stream numbers'));
      throw new OpenError('lost', 'the session has used up its stream numbers');
    }
    this.#nextId += 2;
    const { promise, resolve, reject } = Promise.withResolvers<TunnelStream>();
    this.#outgoing.set(id, { id, accepted: resolve, refused: reject });
    this.#link.send(FrameType.open, id, encodeOpen(request));
    if (signal === undefined) return promise;
    const abort = (): void => {
      if (!this.#outgoing.delete(id)) return;
      this.#sendReset(id, ResetCode.application);
      reject(abortedError(signal));
    };
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
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

  data(id: number, slice: Buffer, end: boolean): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined) stream.receivedData(slice, end);
    else this.#checkAnswered(id, 'DATA');
  }

  frame(type: number, id: number, payload: Buffer): void {
    switch (type) {
      case FrameType.open:
        this.#receivedOpen(id, payload);
        return;
      case FrameType.accept:
      case FrameType.refuse:
        this.#receivedAnswer(type, id, payload);
        return;
      case FrameType.credit:
        if (payload.length !== 4) throw new ProtocolError(`a CREDIT of ${payload.length} bytes`);
        this.#checkAnswered(id, 'CREDIT');
        this.#streams.get(id)?.receivedCredit(payload.readUInt32BE(0));
        return;
      case FrameType.reset:
        if (payload.length !== 1) throw new ProtocolError(`a RESET of ${payload.length} bytes`);
        this.#checkKnown(id, 'RESET');
        this.#receivedReset(id, payload.readUInt8(0));
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
    for (const pending of this.#outgoing.values()) pending.refused(lostError(cause));
    for (const pending of this.#incoming.values()) pending.cancel(cause);
    this.#outgoing.clear();
    this.#incoming.clear();
    for (const stream of this.#streams.values()) stream.receivedReset('session-lost');
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
    if (this.#streams.delete(stream.id) && !this.#isOurs(stream.id)) this.#incomingStreams -= 1;
  }

  // What incoming streams call.

  accepted(incoming: PendingIncoming): TunnelStream {
    const stream = new MuxStream(incoming.id, this, this.#peerWindow, this.#window);
    if (this.#incoming.delete(incoming.id)) {
      this.#streams.set(incoming.id, stream);
      this.#link.send(FrameType.accept, incoming.id, NO_PAYLOAD);
    } else stream.receivedReset(this.#endCause === undefined ? 'peer' : 'session-lost');
    return stream;
  }

  refused(incoming: PendingIncoming, refusal: Refusal): void {
    if (!this.#incoming.delete(incoming.id)) return;
    this.#incomingStreams -= 1;
    this.#link.send(FrameType.refuse, incoming.id, encodeRefusal(refusal));
  }

  #receivedOpen(id: number, payload: Buffer): void {
    if (this.#isOurs(id) || id <= this.#highestIncoming) throw new ProtocolError(`an OPEN of stream ${id}, whose number is not its turn`);
    this.#highestIncoming = id;
    const request = decodeOpen(payload);
    if ('errorClass' in request) {
      this.#link.send(FrameType.refuse, id, encodeRefusal(request));
      return;
    }
    if (this.#incomingStreams >= limits.incomingStreams || this.#incoming.size >= limits.pendingOpens) {
      this.#link.send(FrameType.refuse, id, encodeRefusal({ errorClass: 'failed', message: 'too many streams at once' }));
      return;
    }
    const incoming = new PendingIncoming(id, request, this);
    this.#incomingStreams += 1;
    this.#incoming.set(id, incoming);
    this.#handlers.incoming(incoming);
  }

  #receivedAnswer(type: number, id: number, payload: Buffer): void {
    if (!this.#isOurs(id) || id >= this.#nextId) throw new ProtocolError(`an answer to stream ${id}, which was not opened`);
    const pending = this.#outgoing.get(id);
    // Given up meanwhile: our RESET is on its way.
    if (pending === undefined) {
      if (this.#streams.has(id)) throw new ProtocolError(`a second answer to stream ${id}`);
      return;
    }
    this.#outgoing.delete(id);
    if (type === FrameType.refuse) {
      const { errorClass, message } = decodeRefusal(payload);
      pending.refused(new OpenError(errorClass, message));
      return;
    }
    const stream = new MuxStream(id, this, this.#peerWindow, this.#window);
    this.#streams.set(id, stream);
    pending.accepted(stream);
  }

  #receivedReset(id: number, code: number): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined) {
      stream.receivedReset(code === ResetCode.protocol ? 'protocol' : 'peer');
      return;
    }
    const incoming = this.#incoming.get(id);
    if (incoming === undefined) return;
    this.#incoming.delete(id);
    this.#incomingStreams -= 1;
    incoming.cancel(new OpenError('aborted', 'the far end gave up'));
  }

  #sendReset(id: number, code: number): void {
    this.#link.send(FrameType.reset, id, Buffer.of(code));
  }

  /** Frames may cross a RESET on the way, so closed streams are passed over; a number never opened is an error. */
  #checkKnown(id: number, frame: string): void {
    const known = this.#isOurs(id) ? id < this.#nextId && !this.#outgoing.has(id) : id <= this.#highestIncoming;
    if (!known) throw new ProtocolError(`${frame} on stream ${id}, which is not open`);
  }

  #checkAnswered(id: number, frame: string): void {
    this.#checkKnown(id, frame);
    if (this.#incoming.has(id)) throw new ProtocolError(`${frame} on stream ${id} before it was accepted`);
  }

  #isOurs(id: number): boolean {
    return id !== 0 && id % 2 === this.#nextId % 2;
  }
}
