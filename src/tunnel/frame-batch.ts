import { HEADER_BYTES } from './frames.ts';

const SLAB_BYTES = 32 * 1024;

/**
 * Frames on their way to one write: headers and small payloads are put together in a pooled buffer, large payloads are
 * kept by reference. The parts of a batch go to the transport as one `writev`.
 */
export class FrameBatch {
  /** Bytes of the batch. */
  bytes = 0;
  readonly #copyBelow: number;
  #parts: Buffer[] = [];
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  /** The part of the slab that belongs to the batch and is not among the parts yet. */
  #start = 0;
  #end = 0;

  /** Payloads below `copyBelow` bytes are copied: a copy is cheaper than one more element of a writev. */
  constructor(copyBelow: number = 2048) {
    this.#copyBelow = Math.min(copyBelow, SLAB_BYTES);
  }

  /** Begins a frame; exactly `length` bytes of payload must follow by `append`. */
  header(type: number, flags: number, stream: number, length: number): void {
    if (this.#end + HEADER_BYTES > SLAB_BYTES) this.#renew();
    const slab = this.#slab;
    const at = this.#end;
    slab[at] = type;
    slab.writeUInt32BE(length, at + 1);
    slab[at + 1] = flags;
    slab.writeUInt32BE(stream, at + 5);
    this.#end = at + HEADER_BYTES;
    this.bytes += HEADER_BYTES;
  }

  /** A piece of the payload; it must not be changed until the batch is written. */
  append(payload: Buffer): void {
    const size = payload.length;
    if (size === 0) return;
    this.bytes += size;
    if (size >= this.#copyBelow) {
      this.#cut();
      this.#parts.push(payload);
      return;
    }
    if (this.#end + size > SLAB_BYTES) this.#renew();
    payload.copy(this.#slab, this.#end);
    this.#end += size;
  }

  /** The parts in order; the batch is empty afterwards. */
  take(): readonly Buffer[] {
    this.#cut();
    const parts = this.#parts;
    this.#parts = [];
    this.bytes = 0;
    return parts;
  }

  #cut(): void {
    if (this.#end > this.#start) this.#parts.push(this.#slab.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }

  #renew(): void {
    this.#cut();
    this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    this.#start = 0;
    this.#end = 0;
  }
}
