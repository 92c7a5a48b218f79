import type { Duplex } from 'node:stream';
import {
  FLAG_FIN,
  FrameReader,
  FrameType,
  ResetStatus,
  SpdyProtocolError,
  dataFrame,
  dataHeader,
  goAwayFrame,
  pingFrame,
  rstStreamFrame,
  synReplyFrame,
  synStreamFrame,
  type ControlFrame,
} from './frames.ts';
import { HeaderDecoder, HeaderEncoder, type SpdyHeaders } from './headers.ts';
import { SpdyStream, SpdyStreamResetError, type StreamCarrier } from './stream.ts';

/** The most data in one frame: a peer in Go allocates by the frame, and reads one before it looks at the next. */
const MAX_DATA_LENGTH = 256 * 1024;
/** A copy of this much costs less than a second element of the write. */
const COPY_LENGTH = 4 * 1024;
/** How long a graceful close waits for its last bytes to be written. */
const CLOSE_MILLISECONDS = 1_000;

export interface SpdyConnectionOptions {
  /** Clients open streams with odd ids, servers with even ones. */
  readonly role: 'client' | 'server';
  /** Bytes that were read together with the answer to the upgrade. */
  readonly head?: Buffer;
  /** A stream that the peer opens: answer it by `reply`, or destroy it. Without a handler they are refused. */
  readonly onStream?: (stream: SpdyStream) => void;
}

/**
 * A SPDY/3.1 connection over a socket that was upgraded, as Kubernetes' streaming endpoints speak it: no flow
 * control windows (WINDOW_UPDATE is ignored, as moby/spdystream does), so a stream whose reader stops holds
 * up the socket, and with it every other stream of the connection. Use one connection for one flow of data.
 */
export class SpdyConnection implements StreamCarrier, AsyncDisposable {
  /** Resolves when the connection is over: with the Error that ended it, or undefined after `close`. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  readonly #socket: Duplex;
  readonly #options: SpdyConnectionOptions;
  readonly #encoder = new HeaderEncoder();
  readonly #decoder = new HeaderDecoder();
  readonly #reader: FrameReader;
  readonly #streams = new Map<number, SpdyStream>();
  /** Streams whose readers are behind. */
  readonly #full = new Set<SpdyStream>();
  /** Writers that wait for the socket to drain. */
  #writers: ((error?: Error | null) => void)[] = [];
  #nextId: number;
  #lastPeerId = 0;
  #decoding = false;
  #state: 'open' | 'draining' | 'closed' = 'open';
  #resolveClosed: (error: Error | undefined) => void = () => {};

  constructor(socket: Duplex, options: SpdyConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#nextId = options.role === 'client' ? 1 : 2;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#reader = new FrameReader({
      control: (frame) => this.#control(frame),
      data: (id, chunk, fin) => this.#data(id, chunk, fin),
    });
    socket.on('data', this.#onData);
    socket.on('drain', this.#onDrain);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    if (options.head !== undefined && options.head.length > 0) this.#onData(options.head);
    this.#flow();
  }

  /** Opens a stream; its `accepted` says whether the peer took it. Throws when the connection is over or going away. */
  openStream(headers: SpdyHeaders): SpdyStream {
    if (this.#state !== 'open') throw new Error('the SPDY connection takes no more streams');
    const stream = new SpdyStream(this, this.#nextId, headers);
    this.#nextId += 2;
    this.#streams.set(stream.id, stream);
    this.#socket.write(synStreamFrame(stream.id, this.#encoder.encode(headers), false));
    return stream;
  }

  /** Accepts a stream that the peer opened. */
  reply(stream: SpdyStream, headers: SpdyHeaders = {}): void {
    if (this.#state !== 'closed' && !stream.destroyed) this.#socket.write(synReplyFrame(stream.id, this.#encoder.encode(headers), false));
  }

  /** Says goodbye, lets what was written go out, and ends. Streams that are open then are reset. */
  async close(): Promise<void> {
    if (this.#state !== 'closed') {
      this.#state = 'draining';
      this.#socket.end(goAwayFrame(this.#lastPeerId), () => this.destroy());
      const timer = setTimeout(() => this.destroy(), CLOSE_MILLISECONDS);
      await this.closed;
      clearTimeout(timer);
    }
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Ends the connection and all its streams at once. */
  destroy(error?: Error): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#socket.destroy();
    this.#decoder.close();
    const cause = error ?? new Error('the SPDY connection was closed');
    for (const stream of this.#streams.values()) stream.terminated(cause);
    this.#streams.clear();
    this.#full.clear();
    for (const callback of this.#writers.splice(0)) callback(cause);
    this.#resolveClosed(error);
  }

  // --- for the streams -------------------------------------------------------------------------------------

  writeData(stream: SpdyStream, chunks: readonly Buffer[], callback: (error?: Error | null) => void): void {
    if (this.#state === 'closed') return callback(new Error('the SPDY connection is closed'));
    const socket = this.#socket;
    const [first] = chunks;
    if (chunks.length === 1 && first !== undefined && first.length <= COPY_LENGTH) {
      socket.write(dataFrame(stream.id, first));
      return this.#continue(callback);
    }
    socket.cork();
    for (const frame of framesOf(chunks)) {
      socket.write(dataHeader(stream.id, frame.length, false));
      for (const part of frame.parts) socket.write(part);
    }
    socket.uncork();
    this.#continue(callback);
  }

  writeFin(stream: SpdyStream, callback: (error?: Error | null) => void): void {
    if (this.#state === 'closed') return callback(new Error('the SPDY connection is closed'));
    this.#socket.write(dataHeader(stream.id, 0, true));
    this.#continue(callback);
  }

  resumed(stream: SpdyStream): void {
    if (this.#full.delete(stream)) this.#flow();
  }

  destroyed(stream: SpdyStream): void {
    const known = this.#streams.delete(stream.id);
    if (known && !stream.over && this.#state !== 'closed') this.#socket.write(rstStreamFrame(stream.id, ResetStatus.cancel));
    this.resumed(stream);
  }

  /** Lets the writer go on now, or once the socket has drained. */
  #continue(callback: (error?: Error | null) => void): void {
    if (this.#socket.writableNeedDrain) this.#writers.push(callback);
    else callback();
  }

  // --- the socket ------------------------------------------------------------------------------------------

  readonly #onData = (chunk: Buffer): void => {
    this.#guard(() => this.#reader.read(chunk));
  };

  readonly #onDrain = (): void => {
    for (const callback of this.#writers.splice(0)) callback();
  };

  readonly #onEnd = (): void => this.destroy(new Error('the peer closed the connection'));

  readonly #onError = (error: Error): void => this.destroy(error);

  readonly #onClose = (): void => this.destroy(new Error('the connection was closed'));

  #guard(work: () => void): void {
    if (this.#state === 'closed') return;
    try {
      work();
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Reads from the socket unless a reader is behind, or headers are being decompressed. */
  #flow(): void {
    if (this.#state === 'closed') return;
    if (this.#decoding || this.#full.size > 0) this.#socket.pause();
    else this.#socket.resume();
  }

  // --- frames ----------------------------------------------------------------------------------------------

  #data(id: number, chunk: Buffer, fin: boolean): void {
    const stream = this.#streams.get(id);
    // Data may be on its way to a stream that we have reset.
    if (stream === undefined) return;
    if (!stream.received(chunk, fin)) {
      this.#full.add(stream);
      this.#flow();
    }
  }

  #control(frame: ControlFrame): void {
    const { type, payload } = frame;
    switch (type) {
      case FrameType.synStream:
        return this.#decode(payload, 10, (id, headers) => this.#opened(id, headers, frame));
      case FrameType.synReply:
        return this.#decode(payload, 4, (id, headers) => {
          this.#streams.get(id)?.replied(headers);
          if ((frame.flags & FLAG_FIN) !== 0) this.#data(id, Buffer.alloc(0), true);
        });
      case FrameType.headers:
        // Ignored, but read: the decompressor's state goes on.
        return this.#decode(payload, 4, () => {});
      case FrameType.rstStream:
        return this.#streams.get(streamIdOf(payload))?.terminated(new SpdyStreamResetError(payload.readUInt32BE(4)));
      case FrameType.ping:
        return this.#ping(payload.readUInt32BE(0));
      case FrameType.goAway:
        // No new streams; those that are open go on until the peer closes the connection.
        if (this.#state === 'open') this.#state = 'draining';
        return undefined;
      default:
        // SETTINGS and WINDOW_UPDATE mean nothing without windows; unknown types are to be ignored (section 2.2.1).
        return undefined;
    }
  }

  #decode(payload: Buffer, offset: number, done: (id: number, headers: SpdyHeaders) => void): void {
    const id = streamIdOf(payload);
    if (payload.length < offset) throw new SpdyProtocolError('a control frame that is too short');
    this.#decoding = true;
    this.#reader.pause();
    this.#flow();
    this.#decoder.decode(payload.subarray(offset), (result) => {
      this.#guard(() => {
        if (result instanceof Error) throw new SpdyProtocolError('headers that cannot be decompressed', { cause: result });
        this.#decoding = false;
        done(id, result);
        this.#reader.resume();
        this.#flow();
      });
    });
  }

  #opened(id: number, headers: SpdyHeaders, frame: ControlFrame): void {
    const odd = id % 2 === 1;
    if (odd !== (this.#options.role === 'server') || id <= this.#lastPeerId) {
      throw new SpdyProtocolError(`the peer opened a stream with id ${id}`);
    }
    this.#lastPeerId = id;
    if (this.#options.onStream === undefined || this.#state !== 'open') {
      this.#socket.write(rstStreamFrame(id, ResetStatus.refusedStream));
      return;
    }
    const stream = new SpdyStream(this, id, headers);
    this.#streams.set(id, stream);
    this.#options.onStream(stream);
    if ((frame.flags & FLAG_FIN) !== 0) this.#data(id, Buffer.alloc(0), true);
  }

  /** Pings with ids of the peer's parity are its own: they go back as they came. Ours would be answers. */
  #ping(id: number): void {
    const odd = id % 2 === 1;
    if (odd === (this.#options.role === 'server')) this.#socket.write(pingFrame(id));
  }
}

function streamIdOf(payload: Buffer): number {
  return payload.readUInt32BE(0) & 0x7f_ff_ff_ff;
}

/** Divides chunks into frames of at most MAX_DATA_LENGTH, by views. */
function* framesOf(chunks: readonly Buffer[]): Generator<{ readonly length: number; readonly parts: readonly Buffer[] }> {
  let parts: Buffer[] = [];
  let length = 0;
  for (let chunk of chunks) {
    while (length + chunk.length > MAX_DATA_LENGTH) {
      parts.push(chunk.subarray(0, MAX_DATA_LENGTH - length));
      yield { length: MAX_DATA_LENGTH, parts };
      chunk = chunk.subarray(MAX_DATA_LENGTH - length);
      parts = [];
      length = 0;
    }
    if (chunk.length > 0) parts.push(chunk);
    length += chunk.length;
  }
  if (length > 0) yield { length, parts };
}
