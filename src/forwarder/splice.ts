import type { Socket } from 'node:net';
import { messageOf } from '../platform/errors.ts';
import { ByteQueue } from '../tunnel/byte-queue.ts';
import { countRead } from '../tunnel/read-garbage.ts';
import type { StreamResetReason, StreamSink, TunnelStream } from '../tunnel/types.ts';

/** A piece of this size is one of many, most likely: it waits for the others of its turn of the event loop. */
const BULK_BYTES = 8 * 1024;

/** How a splice went: bytes each way, and how it ended. Never an error of the program: networks break. */
export interface SpliceResult {
  /** From the socket (of two: the first) to the other side. */
  readonly sent: number;
  /** From the other side to the socket (of two: the first). */
  readonly received: number;
  readonly ended: SpliceEnd;
}

/** `finished`: both halves ended as such. Otherwise the failure was passed on to the other side as a reset. */
export type SpliceEnd =
  | { readonly kind: 'finished' }
  /** The socket (of two: the first) was reset or failed. */
  | { readonly kind: 'socket-failed'; readonly message: string }
  /** The far end reset the stream, or the session was lost. */
  | { readonly kind: 'stream-reset'; readonly reason: StreamResetReason }
  /** Of two sockets: the second was reset or failed. */
  | { readonly kind: 'other-failed'; readonly message: string };

/**
 * Joins a socket and a stream until both directions have ended: half-close is passed on as half-close, a failure of one as a
 * reset of the other. The socket is this function's from the call on. Resolves once the socket is closed; never rejects.
 */
export async function spliceStream(socket: Socket, stream: TunnelStream): Promise<SpliceResult> {
  return new StreamSplice(socket, stream).done;
}

class StreamSplice implements StreamSink {
  readonly done: Promise<SpliceResult>;
  readonly #socket: Socket;
  readonly #stream: TunnelStream;
  readonly #resolve: (result: SpliceResult) => void;
  readonly #onWritten = (): void => this.#written();
  readonly #onTurn = (): void => this.#flush();
  /** From the stream, and not given to the socket yet. */
  readonly #queue = new ByteQueue();
  /** `scheduled`: after the reads of this turn. `writing`: the socket has `#inFlight` bytes, and no more until it has taken them. */
  #writer: 'idle' | 'scheduled' | 'writing' = 'idle';
  #inFlight = 0;
  #streamEnded = false;
  #socketEnded = false;
  #sent = 0;
  #received = 0;
  #ended: SpliceEnd | undefined;

  constructor(socket: Socket, stream: TunnelStream) {
    this.#socket = socket;
    this.#stream = stream;
    const { promise, resolve } = Promise.withResolvers<SpliceResult>();
    this.done = promise;
    this.#resolve = resolve;
    socket.allowHalfOpen = true;
    socket.on('data', (chunk: Buffer) => {
      this.#sent += chunk.length;
      countRead(chunk.length);
      if (!stream.write(chunk)) socket.pause();
    });
    socket.on('end', () => this.#socketHasEnded());
    socket.on('error', (error) => this.#socketFailed(messageOf(error)));
    socket.on('close', () => this.#socketClosed());
    stream.attach(this);
    // It was read before, and half-closed when nobody listened for that.
    if (socket.readableEnded) this.#socketHasEnded();
    if (socket.destroyed) this.#socketClosed();
    else socket.resume();
  }

  data(chunk: Buffer): void {
    if (this.#ended !== undefined) return;
    if (this.#writer === 'idle' && chunk.length < BULK_BYTES) {
      this.#writer = 'writing';
      this.#inFlight = chunk.length;
      this.#socket.write(chunk, this.#onWritten);
      return;
    }
    this.#queue.push(chunk);
    if (this.#writer !== 'idle') return;
    // TLS gives its records one by one, at most 16 KiB each: those of one read become one write.
    this.#writer = 'scheduled';
    setImmediate(this.#onTurn);
  }

  end(): void {
    this.#streamEnded = true;
    if (this.#writer === 'idle') this.#endSocket();
  }

  reset(reason: StreamResetReason): void {
    if (this.#ended !== undefined) return;
    this.#ended = { kind: 'stream-reset', reason };
    resetSocket(this.#socket);
  }

  drain(): void {
    this.#socket.resume();
  }

  #flush(): void {
    if (this.#ended !== undefined) return;
    const socket = this.#socket;
    const chunks = this.#queue.takeAll();
    this.#writer = 'writing';
    const last = chunks.length - 1;
    if (last > 0) socket.cork();
    for (const [index, chunk] of chunks.entries()) {
      this.#inFlight += chunk.length;
      if (index === last) socket.write(chunk, this.#onWritten);
      else socket.write(chunk);
    }
    if (last > 0) socket.uncork();
  }

  #written(): void {
    if (this.#ended !== undefined) return;
    const taken = this.#inFlight;
    this.#inFlight = 0;
    this.#received += taken;
    this.#stream.consumed(taken);
    if (this.#queue.bytes > 0) {
      this.#flush();
      return;
    }
    this.#writer = 'idle';
    if (this.#streamEnded) this.#endSocket();
  }

  #socketHasEnded(): void {
    this.#socketEnded = true;
    this.#stream.end();
  }

  #endSocket(): void {
    if (this.#ended === undefined) this.#socket.end();
  }

  #socketFailed(message: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = { kind: 'socket-failed', message };
    this.#stream.reset();
  }

  #socketClosed(): void {
    const finished = this.#socketEnded && this.#streamEnded && this.#writer === 'idle' && this.#socket.errored === null;
    if (finished) this.#ended ??= { kind: 'finished' };
    else this.#socketFailed('the socket was closed');
    this.#resolve({ sent: this.#sent, received: this.#received, ended: this.#ended ?? { kind: 'finished' } });
  }
}

/**
 * Joins two sockets, as `spliceStream` does a socket and a stream: for what does not go through the tunnel. Both sockets are this
 * function's from the call on. Resolves once both are closed; never rejects.
 */
export async function spliceSockets(first: Socket, second: Socket): Promise<SpliceResult> {
  const { promise, resolve } = Promise.withResolvers<SpliceResult>();
  let ended: SpliceEnd | undefined;
  let open = 2;
  function join(from: Socket, to: Socket, kind: 'socket-failed' | 'other-failed'): void {
    function failed(message: string): void {
      ended ??= { kind, message };
      resetSocket(to);
    }
    from.allowHalfOpen = true;
    from.on('data', (chunk: Buffer) => {
      countRead(chunk.length);
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => from.resume());
    from.on('end', () => to.end());
    from.on('error', (error) => failed(messageOf(error)));
    from.on('close', () => {
      if (from.errored !== null || !from.readableEnded || !from.writableFinished) failed('the socket was closed');
      open -= 1;
      if (open > 0) return;
      resolve({ sent: first.bytesRead, received: second.bytesRead, ended: ended ?? { kind: 'finished' } });
    });
  }
  join(first, second, 'socket-failed');
  join(second, first, 'other-failed');
  for (const socket of [first, second]) {
    if (socket.closed) socket.emit('close', false);
    else socket.resume();
  }
  return promise;
}

/** Sends a RST where there is one to send (TCP), so that a failure never looks like a clean close. */
function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  // A socket that is not TCP (a UNIX socket) throws ERR_INVALID_HANDLE_TYPE.
  if (socket.remoteFamily === undefined && !socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}
