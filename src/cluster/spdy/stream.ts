import { Duplex } from 'node:stream';
import type { SpdyHeaders } from './headers.ts';

/** What a stream asks of its connection. */
export interface StreamCarrier {
  /** Sends the chunks as data; calls back when more may be written. The chunks must not be changed afterwards. */
  writeData(stream: SpdyStream, chunks: readonly Buffer[], callback: (error?: Error | null) => void): void;
  writeFin(stream: SpdyStream, callback: (error?: Error | null) => void): void;
  /** The stream's reader wants more. */
  resumed(stream: SpdyStream): void;
  /** The stream is over: forget it, and reset it at the peer unless both sides had ended. */
  destroyed(stream: SpdyStream): void;
}

/** The peer reset the stream (RST_STREAM, SPDY/3 section 2.6.3). */
export class SpdyStreamResetError extends Error {
  override readonly name = 'SpdyStreamResetError';
  readonly status: number;

  constructor(status: number) {
    super(`the peer reset the stream (SPDY status ${status})`);
    this.status = status;
  }
}

/** Bytes that a stream holds for a slow connection, or for a slow reader, before it asks the writer to wait. */
const HIGH_WATER_MARK = 256 * 1024;

/**
 * One stream of a SPDY connection. `end()` half-closes it (FLAG_FIN); destroying it before both sides have
 * ended resets it (RST_STREAM CANCEL). Its owner handles `error`.
 */
export class SpdyStream extends Duplex {
  readonly id: number;
  /** The headers that it was opened with. */
  readonly headers: SpdyHeaders;
  /** Resolves with the headers of SYN_REPLY; rejects when the stream or its connection ends before. */
  readonly accepted: Promise<SpdyHeaders>;
  readonly #carrier: StreamCarrier;
  #accept: (headers: SpdyHeaders) => void = () => {};
  #refuse: (error: Error) => void = () => {};
  #state: { local: 'open' | 'ended'; remote: 'open' | 'ended' } = { local: 'open', remote: 'open' };

  constructor(carrier: StreamCarrier, id: number, headers: SpdyHeaders) {
    super({ highWaterMark: HIGH_WATER_MARK, allowHalfOpen: true, decodeStrings: true });
    this.#carrier = carrier;
    this.id = id;
    this.headers = headers;
    this.accepted = new Promise((resolve, reject) => {
      this.#accept = resolve;
      this.#refuse = reject;
    });
    // Who does not ask does not want to hear of it.
    this.accepted.catch(() => {});
  }

  /** True once neither side will send any more, by FIN or by reset. */
  get over(): boolean {
    return this.#state.local === 'ended' && this.#state.remote === 'ended';
  }

  /** For the connection: the peer's SYN_REPLY. */
  replied(headers: SpdyHeaders): void {
    this.#accept(headers);
  }

  /** For the connection: data of the peer. Answers false when the reader should be waited for. */
  received(chunk: Buffer, fin: boolean): boolean {
    if (this.#state.remote === 'ended' || this.destroyed) return true;
    const more = chunk.length === 0 || this.push(chunk);
    if (fin) {
      this.#state.remote = 'ended';
      this.push(null);
    }
    return more;
  }

  /** For the connection: nothing more can come or go; `error` says why. */
  terminated(error: Error): void {
    this.#state = { local: 'ended', remote: 'ended' };
    this.destroy(error);
  }

  override _read(): void {
    this.#carrier.resumed(this);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#carrier.writeData(this, [chunk], callback);
  }

  override _writev(items: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this.#carrier.writeData(
      this,
      items.map((item) => item.chunk),
      callback,
    );
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#state.local = 'ended';
    this.#carrier.writeFin(this, callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#refuse(error ?? new Error('the stream was closed before it was accepted'));
    this.#carrier.destroyed(this);
    callback(error);
  }
}
