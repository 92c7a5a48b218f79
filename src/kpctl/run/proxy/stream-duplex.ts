import { Duplex } from 'node:stream';
import type { StreamResetReason, TunnelStream } from '../../../tunnel/index.ts';

/** What the far end may send before the reader has taken it; the stream's own credit holds it within its window besides. */
const HIGH_WATER_MARK = 64 * 1024;

/**
 * A stream of the tunnel as a Duplex, for Node's HTTP client: half-close is half-close, a reset of the far end an error with the code
 * ECONNRESET, and destroying it before both directions have ended is a reset. Its owner handles `error`.
 */
export class StreamDuplex extends Duplex {
  /** Payload, as a Socket counts it. */
  bytesRead = 0;
  bytesWritten = 0;
  readonly #stream: TunnelStream;
  /** Given to the reader, and not given back as credit yet. */
  #owed = 0;
  #farEnded = false;
  #waiting: ((error?: Error | null) => void) | undefined;

  constructor(stream: TunnelStream) {
    super({ highWaterMark: HIGH_WATER_MARK, allowHalfOpen: true, decodeStrings: true });
    this.#stream = stream;
    stream.attach({
      data: (chunk) => {
        this.bytesRead += chunk.length;
        this.#owed += chunk.length;
        if (this.push(chunk)) this.#giveBack();
      },
      end: () => {
        this.#farEnded = true;
        this.push(null);
        // So that its end is seen also while nobody reads.
        this.read(0);
      },
      reset: (reason) => this.destroy(resetError(reason)),
      drain: () => {
        const callback = this.#waiting;
        this.#waiting = undefined;
        callback?.();
      },
    });
  }

  override _read(): void {
    this.#giveBack();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.bytesWritten += chunk.length;
    if (this.#stream.write(chunk)) callback();
    else this.#waiting = callback;
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#stream.end();
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (error !== null || !this.#farEnded || !this.writableFinished) this.#stream.reset();
    this.#waiting = undefined;
    callback(error);
  }

  #giveBack(): void {
    if (this.#owed === 0) return;
    const bytes = this.#owed;
    this.#owed = 0;
    this.#stream.consumed(bytes);
  }
}

function resetError(reason: StreamResetReason): Error {
  const why = reason === 'peer' ? 'the far end has reset the connection' : 'the tunnel was lost';
  return Object.assign(new Error(why), { code: 'ECONNRESET' });
}
