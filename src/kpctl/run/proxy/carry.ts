import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { spliceSockets, spliceStream } from '../../../forwarder/index.ts';
import type { Dialled } from './dialler.ts';
import type { CountingSocket } from '../../flows/flow-table.ts';
import { whyEnded } from '../../flows/why-ended.ts';
import { StreamDuplex } from './stream-duplex.ts';

/** Joins a program's connection and what was dialled for it, until both directions have ended. Never rejects. */
export async function carry(socket: Socket, dialled: Dialled): Promise<void> {
  dialled.flow?.counted(fromNow(socket));
  const { ended } = dialled.kind === 'stream' ? await spliceStream(socket, dialled.stream) : await spliceSockets(socket, dialled.socket);
  dialled.flow?.ended(whyEnded(ended));
}

/** What was dialled and is not wanted any more. */
export function drop(dialled: Dialled): void {
  dialled.flow?.ended('aborted');
  if (dialled.kind === 'stream') new StreamDuplex(dialled.stream).on('error', () => undefined).destroy();
  else dialled.socket.on('error', () => undefined).destroy();
}

/** What was dialled, for Node's HTTP client. Its owner handles `error`. */
export function asDuplex(dialled: Dialled): Duplex {
  const duplex = dialled.kind === 'stream' ? new StreamDuplex(dialled.stream) : dialled.socket;
  let why: string | undefined;
  duplex.once('error', () => (why = 'reset by the far end'));
  duplex.once('close', () => dialled.flow?.ended(why));
  dialled.flow?.counted(seenFromHere(duplex));
  return duplex;
}

/** As `carry`, for two connections that an HTTP server and a client have given up, after a request to upgrade. */
export function join(socket: Socket, other: Duplex): void {
  socket.on('error', () => other.destroy()).on('close', () => socket.readableEnded || other.destroy());
  other.on('error', () => socket.destroyed || socket.resetAndDestroy());
  other.on('close', () => other.readableEnded || socket.destroyed || socket.resetAndDestroy());
  socket.pipe(other);
  other.pipe(socket);
}

/** What a program's socket carries from now on: without the words by which it asked the proxy. What it has sent already and nobody has read is payload. */
function fromNow(socket: Socket): CountingSocket {
  const read = socket.bytesRead - socket.readableLength;
  const written = socket.bytesWritten;
  return {
    get bytesRead() {
      return socket.bytesRead - read;
    },
    get bytesWritten() {
      return socket.bytesWritten - written;
    },
    get readableEnded() {
      return socket.readableEnded;
    },
    get writableEnded() {
      return socket.writableEnded;
    },
  };
}

/** The connection to the far end, as the program's own would be counted: what we write to it the program has sent. */
function seenFromHere(far: Socket | StreamDuplex): CountingSocket {
  return {
    get bytesRead() {
      return far.bytesWritten;
    },
    get bytesWritten() {
      return far.bytesRead;
    },
    get readableEnded() {
      return far.writableEnded;
    },
    get writableEnded() {
      return far.readableEnded;
    },
  };
}
