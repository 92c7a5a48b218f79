import { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

/** The subprotocol: each binary message begins with the number of the channel that it belongs to (k8s.io/apiserver, wsstream). */
export const CHANNEL_PROTOCOL = 'v4.channel.k8s.io';

/** The most data in one message: a peer in Go reads a whole message before it looks at it. */
const MAX_MESSAGE_LENGTH = 256 * 1024;
/** Bytes that wait for a slow connection, or for a slow reader, before the writer is asked to wait. */
const HIGH_WATER_MARK = 256 * 1024;
/** How long a graceful close waits for the peer's. */
const CLOSE_MILLISECONDS = 1_000;
/** RFC 6455 section 7.4.1: 1000 done, 1001 going away, 1005 no code given. */
const REGULAR_CLOSES: ReadonlySet<number> = new Set([1000, 1001, 1005]);

/** What a channel asks of its connection. */
interface ChannelCarrier {
  send(channel: number, chunks: readonly Buffer[], callback: (error?: Error | null) => void): void;
  resumed(channel: Channel): void;
  ended(): void;
  left(channel: Channel): void;
}

/**
 * One channel. Nothing in the protocol ends a channel alone: once all of this side have been ended, or one is destroyed, the
 * connection closes. Its owner handles `error`.
 */
export class Channel extends Duplex {
  readonly number: number;
  readonly #carrier: ChannelCarrier;

  constructor(carrier: ChannelCarrier, number: number) {
    super({ highWaterMark: HIGH_WATER_MARK, allowHalfOpen: true, decodeStrings: true });
    this.#carrier = carrier;
    this.number = number;
  }

  override _read(): void {
    this.#carrier.resumed(this);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#carrier.send(this.number, [chunk], callback);
  }

  override _writev(items: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this.#carrier.send(
      this.number,
      items.map((item) => item.chunk),
      callback,
    );
  }

  override _final(callback: (error?: Error | null) => void): void {
    callback();
    this.#carrier.ended();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#carrier.left(this);
    callback(error);
  }
}

/**
 * The channels of one open WebSocket. It has no windows: a channel whose reader stops holds up the connection, and with it the
 * other channels, and a writer is asked to wait while the connection is behind. Use one connection for one flow of data.
 */
export class ChannelConnection {
  readonly channels: readonly Channel[];
  /** Resolves when the connection is over. Never rejects. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  /** Channels whose readers are behind. */
  readonly #full = new Set<Channel>();
  #error: Error | undefined;
  #closing = false;
  #timer: NodeJS.Timeout | undefined;

  /** `count`: the channels are 0 to `count` - 1. Nothing is received before `start`. */
  constructor(socket: WebSocket, count: number) {
    this.#socket = socket;
    this.channels = Array.from({ length: count }, (_, number) => new Channel(this, number));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    socket.pause();
    socket.on('message', (message, isBinary) => this.#received(message, isBinary));
    socket.on('error', (error) => (this.#error ??= error));
    socket.on('close', (code) => {
      this.#over(code);
      resolve();
    });
  }

  start(): void {
    if (this.#socket.readyState === this.#socket.CLOSED) this.#over(1006);
    else this.#socket.resume();
  }

  /** Says goodbye behind what was written, and ends: after a second in any case. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    // what the peer still sends must be read, or its goodbye is not seen
    this.#full.clear();
    this.#socket.resume();
    this.#socket.close(1000);
    this.#timer = setTimeout(() => this.#socket.terminate(), CLOSE_MILLISECONDS);
  }

  /** Ends the connection and its channels at once. */
  destroy(error?: Error): void {
    this.#error ??= error;
    this.#closing = true;
    this.#socket.terminate();
  }

  // --- for the channels ------------------------------------------------------------------------------------

  send(channel: number, chunks: readonly Buffer[], callback: (error?: Error | null) => void): void {
    const messages = messagesOf(channel, chunks);
    const last = messages.length - 1;
    const socket = this.#socket;
    if (last < 0) return callback();
    let waiting = true;
    const done = (error?: Error): void => {
      if (!waiting) return;
      waiting = false;
      callback(error);
    };
    // The reason for it may still be on its way: what came before the end is told first.
    const failed = (): void => void this.closed.then(() => setImmediate(() => done(this.#error ?? new Error('the connection was closed'))));
    if (socket.readyState !== socket.OPEN) return failed();
    for (const [index, message] of messages.entries()) {
      socket.send(message, (error) => {
        if (error != null) failed();
        else if (index === last) done();
      });
    }
    if (socket.bufferedAmount < HIGH_WATER_MARK) done();
  }

  resumed(channel: Channel): void {
    if (this.#full.delete(channel) && this.#full.size === 0) this.#socket.resume();
  }

  ended(): void {
    if (this.channels.every((channel) => channel.writableEnded)) this.close();
  }

  left(channel: Channel): void {
    this.close();
    this.resumed(channel);
  }

  // --- the socket ------------------------------------------------------------------------------------------

  #received(message: Buffer | ArrayBuffer | Buffer[], isBinary: boolean): void {
    const bytes = Array.isArray(message) ? Buffer.concat(message) : Buffer.isBuffer(message) ? message : Buffer.from(message);
    if (bytes.length === 0) return;
    const channel = isBinary ? this.channels[bytes.readUInt8(0)] : undefined;
    if (channel === undefined) {
      this.destroy(new Error(isBinary ? `a message of the unknown channel ${bytes[0]}` : 'a message in text, where binary was agreed'));
      return;
    }
    if (bytes.length === 1 || channel.destroyed || channel.readableEnded || channel.push(bytes.subarray(1)) || this.#closing) return;
    this.#full.add(channel);
    this.#socket.pause();
  }

  #over(code: number): void {
    clearTimeout(this.#timer);
    this.#closing = true;
    const broken = this.#error ?? (REGULAR_CLOSES.has(code) ? undefined : new Error(`the WebSocket was closed (code ${code})`));
    // The last channels first: those that tell of errors end before the data that they are about.
    for (const channel of this.channels.toReversed()) {
      if (broken === undefined) channel.push(null);
      else channel.destroy(broken);
    }
  }
}

/** Joins chunks to messages of at most MAX_MESSAGE_LENGTH, the channel's number first. */
function messagesOf(channel: number, chunks: readonly Buffer[]): Buffer[] {
  const messages: Buffer[] = [];
  let left = chunks.reduce((sum, { length }) => sum + length, 0);
  let message = Buffer.alloc(0);
  let filled = 0;
  for (const chunk of chunks) {
    for (let offset = 0; offset < chunk.length;) {
      if (filled === message.length) {
        message = Buffer.allocUnsafe(1 + Math.min(left, MAX_MESSAGE_LENGTH));
        message[0] = channel;
        filled = 1;
        messages.push(message);
      }
      const copied = chunk.copy(message, filled, offset);
      filled += copied;
      offset += copied;
      left -= copied;
    }
  }
  return messages;
}
