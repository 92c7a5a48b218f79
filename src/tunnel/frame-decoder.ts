import { ProtocolError } from './errors.ts';
import { FIRST_SKIPPABLE_TYPE, FrameType, HEADER_BYTES, limits } from './frames.ts';

/** Receives what a `FrameDecoder` finds. */
export interface FrameReceiver {
  /**
   * A piece of a DATA frame's payload: a slice of what was pushed, the receiver's to keep. `flags`: those of the frame with its last
   * piece (possibly empty), 0 with those before.
   */
  data(stream: number, slice: Buffer, flags: number): void;
  /** Any other frame, complete. The payload may share memory with what was pushed. */
  frame(type: number, flags: number, stream: number, payload: Buffer): void;
}

const EMPTY = Buffer.alloc(0);
const knownTypes: ReadonlySet<number> = new Set(Object.values(FrameType));

/**
 * Cuts a byte stream into frames (docs/protocol.md, section 3). DATA is passed on in the pieces in which it arrives, so
 * nothing is copied and no frame has to be complete; only other frames that are split over reads are put together.
 */
export class FrameDecoder {
  readonly #receiver: FrameReceiver;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #type = 0;
  #flags = 0;
  #stream = 0;
  /** Payload bytes of the current frame that have not arrived; -1: between frames. */
  #missing = -1;
  /** The payload of a split frame other than DATA, as far as it has arrived. */
  #gathered: Buffer | undefined;
  #gatheredBytes = 0;
  #stopped = false;

  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver;
  }

  /** Nothing is passed on any more, not even the rest of the chunk in hand. */
  stop(): void {
    this.#stopped = true;
    this.#gathered = undefined;
  }

  /** Throws ProtocolError for what no version-1 peer sends. */
  push(chunk: Buffer): void {
    let offset = 0;
    while (!this.#stopped) {
      if (this.#missing < 0) {
        if (offset === chunk.length) return;
        offset = this.#readHeader(chunk, offset);
        if (this.#missing < 0) return;
      }
      if (this.#missing > 0 && offset === chunk.length) return;
      offset = this.#readPayload(chunk, offset);
    }
  }

  /** Returns the offset behind what it used; `#missing` is set when the header is complete. */
  #readHeader(chunk: Buffer, offset: number): number {
    let header = chunk;
    let at = offset;
    let next = offset + HEADER_BYTES;
    if (this.#headerBytes > 0 || next > chunk.length) {
      next = Math.min(offset + HEADER_BYTES - this.#headerBytes, chunk.length);
      chunk.copy(this.#header, this.#headerBytes, offset, next);
      this.#headerBytes += next - offset;
      if (this.#headerBytes < HEADER_BYTES) return next;
      this.#headerBytes = 0;
      header = this.#header;
      at = 0;
    }
    this.#type = header.readUInt8(at);
    this.#flags = header.readUInt8(at + 1);
    const length = header.readUInt32BE(at + 1) & 0xff_ffff;
    this.#stream = header.readUInt32BE(at + 5);
    if (length > limits.frameBytes) throw new ProtocolError(`a frame of ${length} bytes is over the limit of ${limits.frameBytes}`);
    if (this.#type < FIRST_SKIPPABLE_TYPE && !knownTypes.has(this.#type)) {
      throw new ProtocolError(`a frame of the unknown type 0x${this.#type.toString(16).padStart(2, '0')}`);
    }
    this.#missing = length;
    return next;
  }

  #readPayload(chunk: Buffer, offset: number): number {
    const next = Math.min(offset + this.#missing, chunk.length);
    this.#missing -= next - offset;
    const complete = this.#missing === 0;
    if (complete) this.#missing = -1;
    if (this.#type === FrameType.data) {
      this.#receiver.data(this.#stream, chunk.subarray(offset, next), complete ? this.#flags : 0);
    } else if (this.#type < FIRST_SKIPPABLE_TYPE) this.#gather(chunk, offset, next, complete);
    return next;
  }

  #gather(chunk: Buffer, offset: number, next: number, complete: boolean): void {
    if (this.#gathered === undefined) {
      if (complete) {
        this.#receiver.frame(this.#type, this.#flags, this.#stream, offset === next ? EMPTY : chunk.subarray(offset, next));
        return;
      }
      this.#gathered = Buffer.allocUnsafeSlow(next - offset + this.#missing);
      this.#gatheredBytes = 0;
    }
    this.#gatheredBytes += chunk.copy(this.#gathered, this.#gatheredBytes, offset, next);
    if (!complete) return;
    const payload = this.#gathered;
    this.#gathered = undefined;
    this.#receiver.frame(this.#type, this.#flags, this.#stream, payload);
  }
}
