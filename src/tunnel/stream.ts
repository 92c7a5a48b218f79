import { ByteQueue } from './byte-queue.ts';
import { ProtocolError } from './errors.ts';
import type { FrameBatch } from './frame-batch.ts';
import { END, EXHAUSTED, FrameType, limits } from './frames.ts';
import type { ReceiveWindow } from './receive-window.ts';
import type { StreamResetReason, StreamSink, TunnelStream } from './types.ts';

/** `write` answers false once this much of a stream waits for its turn. */
const QUEUE_HIGH_BYTES = 256 * 1024;
/** ... and `drain` comes once no more than this waits. */
const QUEUE_LOW_BYTES = 64 * 1024;

/** What a stream needs of its session. */
export interface StreamHost {
  /** The transport has not taken what it was given: streams should wait. */
  readonly congested: boolean;
  /** The stream has something to send: it is put in the line, if it is not in it. */
  enqueue(stream: MuxStream): void;
  sendCredit(stream: MuxStream, bytes: number): void;
  sendReset(stream: MuxStream, code: number): void;
  /** Both halves have ended, or it was reset: the session forgets the stream. */
  finished(stream: MuxStream): void;
}

/** A half of a stream: `ending` still has bytes in its queue. */
type Half = 'open' | 'ending' | 'ended';

/** One flow of a session. docs/protocol.md, section 5, has its states. */
export class MuxStream implements TunnelStream {
  readonly id: number;
  /** Whether it stands in the session's line; kept by the session. */
  inLine = false;
  readonly #host: StreamHost;
  readonly #window: ReceiveWindow;
  readonly #queue = new ByteQueue();
  #sending: Half = 'open';
  #receiving: Half = 'open';
  /** Bytes that the far end allows us to send. */
  #credit: number;
  #wantsDrain = false;
  #sink: StreamSink | undefined;
  /** What came before the sink was attached. */
  #early: ByteQueue | undefined;
  #earlyReset: StreamResetReason | undefined;

  /** `credit`: what the far end's HELLO grants every stream; `window`: what we grant this one. */
  constructor(id: number, host: StreamHost, credit: number, window: ReceiveWindow) {
    this.id = id;
    this.#host = host;
    this.#credit = credit;
    this.#window = window;
  }

  /** A DATA frame of this stream can be written now. */
  get sendable(): boolean {
    if (this.#queue.bytes > 0) return this.#credit > 0;
    return this.#sending === 'ending';
  }

  /** `drain` is due: the queue is short again after `write` answered false. */
  get drainDue(): boolean {
    return this.#wantsDrain && this.#queue.bytes <= QUEUE_LOW_BYTES && this.#sending === 'open';
  }

  attach(sink: StreamSink): void {
    if (this.#sink !== undefined) throw new Error(`stream ${this.id} has a sink already`);
    this.#sink = sink;
    const early = this.#early;
    this.#early = undefined;
    if (early !== undefined) for (const chunk of early.takeAll()) sink.data(chunk);
    if (this.#earlyReset !== undefined) sink.reset(this.#earlyReset);
    else if (this.#receiving === 'ended') sink.end();
  }

  write(chunk: Buffer): boolean {
    if (this.#sending !== 'open') return true;
    this.#queue.push(chunk);
    const queued = this.#queue.bytes;
    if (queued > 0 && this.#credit > 0) this.#host.enqueue(this);
    if (queued < QUEUE_HIGH_BYTES && queued <= this.#credit && !this.#host.congested) return true;
    this.#wantsDrain = true;
    return false;
  }

  end(): void {
    if (this.#sending !== 'open') return;
    this.#sending = 'ending';
    if (this.sendable) this.#host.enqueue(this);
  }

  reset(): void {
    if (this.#isFinished()) return;
    this.#host.sendReset(this, 0);
    this.#finish();
  }

  consumed(bytes: number): void {
    if (this.#receiving !== 'open') return;
    const returned = this.#window.consumed(bytes);
    if (returned > 0) this.#host.sendCredit(this, returned);
  }

  /** Writes one DATA frame; only when `sendable`. */
  writeFrame(batch: FrameBatch): void {
    const queue = this.#queue;
    const length = Math.min(queue.bytes, this.#credit, limits.dataBytes);
    const last = this.#sending === 'ending' && length === queue.bytes;
    this.#credit -= length;
    batch.header(FrameType.data, last ? END : this.#credit === 0 ? EXHAUSTED : 0, this.id, length);
    queue.shift(length, (piece) => batch.append(piece));
    if (!last) return;
    this.#sending = 'ended';
    if (this.#isFinished()) this.#done();
  }

  /** Tells the sink that it may write. */
  drained(): void {
    if (!this.#wantsDrain) return;
    this.#wantsDrain = false;
    this.#sink?.drain();
  }

  /** A piece of DATA arrived. Throws ProtocolError when it is more than the credit, or behind the end. */
  receivedData(slice: Buffer, flags: number): void {
    if (this.#receiving !== 'open') throw new ProtocolError(`data on stream ${this.id} after its end`);
    if (!this.#window.received(slice.length)) throw new ProtocolError(`more data on stream ${this.id} than its credit`);
    if (slice.length > 0) {
      if (this.#sink === undefined) (this.#early ??= new ByteQueue()).push(slice);
      else this.#sink.data(slice);
    }
    // The sink may have reset the stream while it took the data.
    if (flags === 0 || this.#isFinished()) return;
    if ((flags & EXHAUSTED) !== 0) {
      const growth = this.#window.exhausted();
      if (growth > 0) this.#host.sendCredit(this, growth);
    }
    if ((flags & END) === 0) return;
    this.#receiving = 'ended';
    const finished = this.#isFinished();
    this.#sink?.end();
    if (finished) this.#done();
  }

  receivedCredit(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit > limits.creditBytes) throw new ProtocolError(`credit of stream ${this.id} over the limit`);
    if (this.sendable) this.#host.enqueue(this);
  }

  /** The far end will not have it: what waits is dropped. Sends nothing. */
  discard(): void {
    if (!this.#isFinished()) this.#finish();
  }

  /** Reset by the far end, or because the session ended. Sends nothing. */
  receivedReset(reason: StreamResetReason): void {
    if (this.#isFinished()) return;
    this.#finish();
    if (this.#sink === undefined) this.#earlyReset = reason;
    else this.#sink.reset(reason);
  }

  #isFinished(): boolean {
    return this.#sending === 'ended' && this.#receiving === 'ended';
  }

  #finish(): void {
    this.#sending = 'ended';
    this.#receiving = 'ended';
    this.#queue.clear();
    this.#early = undefined;
    this.#done();
  }

  #done(): void {
    this.#window.release();
    this.#host.finished(this);
  }
}
