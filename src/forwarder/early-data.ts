import type { Socket } from 'node:net';
import type { AbortOptions } from '../platform/abort.ts';
import type { OpenRequest, Session, TunnelStream } from '../tunnel/types.ts';

/**
 * Opens a stream for a socket, and sends what the socket has to say before the far end has answered: a request then takes one round trip of
 * the tunnel, and not two. Resolves with the accepted stream, to be spliced with the socket at once. Rejects as `Session.open` does: the socket must
 * be reset then, because the far end may have passed on what it was sent.
 */
export async function openWithEarlyData(
  session: Pick<Session, 'beginOpen'>,
  request: OpenRequest,
  socket: Socket,
  options: AbortOptions = {},
): Promise<TunnelStream> {
  const opening = session.beginOpen(request, options);
  if (opening.earlyRoom === 0) return await opening.answer;
  function onReadable(): void {
    while (opening.earlyRoom > 0 && socket.readableLength > 0) {
      const chunk: unknown = socket.read(Math.min(opening.earlyRoom, socket.readableLength));
      if (!Buffer.isBuffer(chunk)) return;
      opening.sendEarly(chunk);
    }
  }
  socket.on('readable', onReadable);
  onReadable();
  try {
    return await opening.answer;
  } finally {
    socket.off('readable', onReadable);
  }
}
