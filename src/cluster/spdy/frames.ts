/** SPDY/3.1 framing (SPDY protocol draft 3.1, section 2.2). */

export const FrameType = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

/** Flag of SYN_STREAM, SYN_REPLY, HEADERS and DATA: the sender's last frame on the stream. */
export const FLAG_FIN = 1;

/** Status codes of RST_STREAM (section 2.6.3). */
export const ResetStatus = {
  protocolError: 1,
  invalidStream: 2,
  refusedStream: 3,
  unsupportedVersion: 4,
  cancel: 5,
  internalError: 6,
  flowControlError: 7,
  streamInUse: 8,
  streamAlreadyClosed: 9,
} as const;

const VERSION = 3;
const HEADER_LENGTH = 8;
/** The largest length that fits the 24 bits of a frame's header. */
export const MAX_FRAME_LENGTH = 0xff_ff_ff;
/** A control frame of ours or of Go's has some 100 bytes. */
const MAX_CONTROL_LENGTH = 1 << 16;

/** A control frame. `payload` is what follows the 8 bytes of its header. */
export interface ControlFrame {
  readonly type: number;
  readonly flags: number;
  readonly payload: Buffer;
}

/** Receives what a {@link FrameReader} finds, in order. */
export interface FrameHandler {
  control(frame: ControlFrame): void;
  /** A part of a data frame's payload, a view of the chunk that was read. `fin` comes with the last part. */
  data(streamId: number, chunk: Buffer, fin: boolean): void;
}

/** What cannot be SPDY/3.1: the connection must end. */
export class SpdyProtocolError extends Error {
  override readonly name = 'SpdyProtocolError';
}

/**
 * Splits a byte stream into frames. Data is handed on as it comes, without waiting for the rest of its frame
 * and without copying; only control frames and headers that cross a chunk border are put together.
 */
export class FrameReader {
  readonly #handler: FrameHandler;
  /** What is not yet a whole header or control frame. */
  #partial: Buffer = Buffer.alloc(0);
  #dataLeft = 0;
  #dataStream = 0;
  #dataFin = false;
  #paused = false;
  #waiting: Buffer[] = [];

  constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  /** True between `pause` and `resume`. */
  get paused(): boolean {
    return this.#paused;
  }

  /** May be called by the handler: what follows in this chunk, and later chunks, are kept until `resume`. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const chunk of waiting) this.read(chunk);
  }

  /** Throws SpdyProtocolError. */
  read(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#paused) {
        this.#waiting.push(rest);
        return;
      }
      rest = this.#dataLeft > 0 ? this.#readData(rest) : this.#readFrame(rest);
    }
  }

  #readData(chunk: Buffer): Buffer {
    const part = chunk.length <= this.#dataLeft ? chunk : chunk.subarray(0, this.#dataLeft);
    this.#dataLeft -= part.length;
    this.#handler.data(this.#dataStream, part, this.#dataFin && this.#dataLeft === 0);
    return chunk.subarray(part.length);
  }

  #readFrame(chunk: Buffer): Buffer {
    const bytes = this.#partial.length === 0 ? chunk : Buffer.concat([this.#partial, chunk]);
    this.#partial = Buffer.alloc(0);
    if (bytes.length < HEADER_LENGTH) return this.#keep(bytes);
    const word = bytes.readUInt32BE(0);
    const flags = bytes.readUInt8(4);
    const length = bytes.readUIntBE(5, 3);
    if (word < 0x80_00_00_00) {
      this.#dataStream = word;
      this.#dataFin = (flags & FLAG_FIN) !== 0;
      this.#dataLeft = length;
      if (length === 0) this.#handler.data(word, Buffer.alloc(0), this.#dataFin);
      return bytes.subarray(HEADER_LENGTH);
    }
    const version = (word >>> 16) & 0x7fff;
    if (version !== VERSION) throw new SpdyProtocolError(`a frame of SPDY version ${version}`);
    if (length > MAX_CONTROL_LENGTH) throw new SpdyProtocolError(`a control frame of ${length} bytes`);
    const end = HEADER_LENGTH + length;
    if (bytes.length < end) return this.#keep(bytes);
    this.#handler.control({ type: word & 0xffff, flags, payload: bytes.subarray(HEADER_LENGTH, end) });
    return bytes.subarray(end);
  }

  #keep(bytes: Buffer): Buffer {
    this.#partial = bytes;
    return bytes.subarray(bytes.length);
  }
}

/** The 8 bytes before `length` bytes of data. */
export function dataHeader(streamId: number, length: number, fin: boolean): Buffer {
  const header = Buffer.allocUnsafe(HEADER_LENGTH);
  header.writeUInt32BE(streamId, 0);
  header.writeUInt32BE(((fin ? FLAG_FIN : 0) << 24) | length, 4);
  return header;
}

/** A whole data frame, without FIN: the data is copied. */
export function dataFrame(streamId: number, data: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_LENGTH + data.length);
  frame.writeUInt32BE(streamId, 0);
  frame.writeUInt32BE(data.length, 4);
  data.copy(frame, HEADER_LENGTH);
  return frame;
}

/** A whole control frame. */
export function controlFrame(type: number, flags: number, payload: Buffer): Buffer {
  const header = Buffer.allocUnsafe(HEADER_LENGTH);
  header.writeUInt16BE(0x80_00 | VERSION, 0);
  header.writeUInt16BE(type, 2);
  header.writeUInt32BE(((flags << 24) | payload.length) >>> 0, 4);
  return Buffer.concat([header, payload]);
}

/** SYN_STREAM (section 2.6.1), priority 0, no associated stream. */
export function synStreamFrame(streamId: number, block: Buffer, fin: boolean): Buffer {
  const head = Buffer.alloc(10);
  head.writeUInt32BE(streamId, 0);
  return controlFrame(FrameType.synStream, fin ? FLAG_FIN : 0, Buffer.concat([head, block]));
}

/** SYN_REPLY (section 2.6.2). */
export function synReplyFrame(streamId: number, block: Buffer, fin: boolean): Buffer {
  return controlFrame(FrameType.synReply, fin ? FLAG_FIN : 0, Buffer.concat([uint32s(streamId), block]));
}

/** RST_STREAM (section 2.6.3). */
export function rstStreamFrame(streamId: number, status: number): Buffer {
  return controlFrame(FrameType.rstStream, 0, uint32s(streamId, status));
}

/** PING (section 2.6.5). */
export function pingFrame(id: number): Buffer {
  return controlFrame(FrameType.ping, 0, uint32s(id));
}

/** GOAWAY (section 2.6.6) with status OK. */
export function goAwayFrame(lastStreamId: number): Buffer {
  return controlFrame(FrameType.goAway, 0, uint32s(lastStreamId, 0));
}

function uint32s(...values: number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value >>> 0, 4 * index));
  return bytes;
}
