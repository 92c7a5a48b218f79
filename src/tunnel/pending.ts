import { ByteQueue } from './byte-queue.ts';
import { OpenError, ProtocolError } from './errors.ts';
import { END, limits } from './frames.ts';
import type { Refusal } from './open-messages.ts';
import type { MuxStream } from './stream.ts';
import type { DialErrorClass, IncomingStream, OpenRequest, SessionEnd, TunnelStream } from './types.ts';

/** What an incoming stream needs of its session. */
export interface IncomingHost {
  accepted(incoming: PendingIncoming): TunnelStream;
  refused(incoming: PendingIncoming, refusal: Refusal): void;
}

/** An OPEN of the far end that waits for its answer. */
export class PendingIncoming implements IncomingStream {
  readonly id: number;
  readonly request: OpenRequest;
  readonly #host: IncomingHost;
  #answered = false;
  #early: ByteQueue | undefined;
  #controller: AbortController | undefined;
  #cancelled: Error | undefined;

  constructor(id: number, request: OpenRequest, host: IncomingHost) {
    this.id = id;
    this.request = request;
    this.#host = host;
  }

  get signal(): AbortSignal {
    // Made when it is asked for: an AbortController costs more than the rest of an OPEN.
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#cancelled !== undefined) this.#controller.abort(this.#cancelled);
    }
    return this.#controller.signal;
  }

  /** After the far end gave up, the stream that this returns is reset already. */
  accept(): TunnelStream {
    this.#answer();
    return this.#host.accepted(this);
  }

  refuse(errorClass: DialErrorClass, message: string): void {
    this.#answer();
    if (this.#cancelled === undefined) this.#host.refused(this, { errorClass, message });
  }

  /** DATA that came before our answer. Throws ProtocolError when it is more than may. */
  receivedEarly(slice: Buffer, flags: number): void {
    const early = (this.#early ??= new ByteQueue());
    if ((flags & END) !== 0) throw new ProtocolError(`the end of stream ${this.id} before it was accepted`);
    if (early.bytes + slice.length > limits.earlyBytes) throw new ProtocolError(`more early data on stream ${this.id} than the limit`);
    // A copy: the slice would keep all that was read with it.
    if (slice.length > 0) early.push(Buffer.from(slice));
  }

  /** What has come, once. */
  takeEarly(): readonly Buffer[] {
    const early = this.#early;
    this.#early = undefined;
    return early?.takeAll() ?? [];
  }

  /** The far end gave up, or the session ended. */
  cancel(cause: Error): void {
    this.#cancelled = cause;
    this.#controller?.abort(cause);
  }

  #answer(): void {
    if (this.#answered) throw new Error(`stream ${this.id} was answered already`);
    this.#answered = true;
  }
}

/** The far end's OPENs that wait for our answers, and how many streams it has with us. */
export class IncomingOpens {
  readonly #pending = new Map<number, PendingIncoming>();
  /** Open ones, and those that wait. */
  #streams = 0;

  /** One more may not be. */
  get full(): boolean {
    return this.#streams >= limits.incomingStreams || this.#pending.size >= limits.pendingOpens;
  }

  get(id: number): PendingIncoming | undefined {
    return this.#pending.get(id);
  }

  add(incoming: PendingIncoming): void {
    this.#streams += 1;
    this.#pending.set(incoming.id, incoming);
  }

  /** It waits no more: it is a stream. False: it was given up before. */
  accepted(id: number): boolean {
    return this.#pending.delete(id);
  }

  /** It waits no more: it was refused. False: it was given up before. */
  refused(id: number): boolean {
    const waited = this.#pending.delete(id);
    if (waited) this.#streams -= 1;
    return waited;
  }

  /** The far end gave up. */
  cancelled(id: number): void {
    const incoming = this.#pending.get(id);
    if (this.refused(id)) incoming?.cancel(new OpenError('aborted', 'the far end gave up'));
  }

  /** An accepted stream is over. */
  ended(): void {
    this.#streams -= 1;
  }

  lost(cause: Error): void {
    for (const incoming of this.#pending.values()) incoming.cancel(cause);
    this.#pending.clear();
  }
}

/** Who waits for the answer to an OPEN of ours. */
interface PendingOutgoing {
  readonly stream: MuxStream;
  accepted(): void;
  refused(error: OpenError): void;
}

/** The OPENs of ours that wait for their answers. */
export class OutgoingOpens {
  readonly #pending = new Map<number, PendingOutgoing>();

  has(id: number): boolean {
    return this.#pending.has(id);
  }

  /** Resolves or rejects with the answer to the OPEN of `stream`; `giveUp` is called when the signal aborts before. */
  async answerTo(stream: MuxStream, signal: AbortSignal | undefined, giveUp: () => void): Promise<TunnelStream> {
    const { id } = stream;
    const { promise, resolve, reject } = Promise.withResolvers<TunnelStream>();
    this.#pending.set(id, {
      stream,
      accepted: () => resolve(stream),
      refused: (error) => {
        stream.discard();
        reject(error);
      },
    });
    if (signal === undefined) return promise;
    const abort = (): void => {
      if (!this.#pending.delete(id)) return;
      stream.discard();
      giveUp();
      reject(abortedError(signal));
    };
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** The far end has accepted. `open` is told first of the stream; not of one that was given up meanwhile: our RESET is on its way. */
  accepted(id: number, open: (stream: MuxStream) => void): void {
    const pending = this.#take(id);
    if (pending === undefined) return;
    open(pending.stream);
    pending.accepted();
  }

  refused(id: number, { errorClass, message }: Refusal): void {
    this.#take(id)?.refused(new OpenError(errorClass, message));
  }

  lost(cause: Error): void {
    for (const pending of this.#pending.values()) pending.refused(lostError(cause));
    this.#pending.clear();
  }

  #take(id: number): PendingOutgoing | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }
}

/** For the messages of what a session's end takes with it. */
export function lostError(cause: Error): OpenError {
  return new OpenError('lost', `the session ended: ${cause.message}`, { cause });
}

/** For an opener that gave up. */
export function abortedError(signal: AbortSignal): OpenError {
  return new OpenError('aborted', 'the stream was given up before the far end answered', { cause: signal.reason });
}

/** A session's end as the cause of what it takes with it. */
export function causeOf(end: SessionEnd): Error {
  if (end.kind === 'lost') return end.cause;
  return new Error(end.kind === 'goodbye' ? 'the far end said goodbye' : 'it was closed');
}
