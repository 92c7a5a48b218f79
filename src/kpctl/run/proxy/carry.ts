import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { spliceSockets, spliceStream } from '../../../forwarder/index.ts';
import type { Dialled } from './dialler.ts';
import { StreamDuplex } from './stream-duplex.ts';

/** Joins a program's connection and what was dialled for it, until both directions have ended. Never rejects. */
export async function carry(socket: Socket, dialled: Dialled): Promise<void> {
  dialled.flow?.counted(socket);
  const { ended } = dialled.kind === 'stream' ? await spliceStream(socket, dialled.stream) : await spliceSockets(socket, dialled.socket);
  dialled.flow?.ended(ended.kind === 'finished' ? undefined : ended.kind);
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
  duplex.once('close', () => dialled.flow?.ended());
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
