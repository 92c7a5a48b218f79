import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { SpdyConnection } from '../../cluster/spdy/connection.ts';
import type { SpdyStream } from '../../cluster/spdy/stream.ts';
import { ChannelConnection } from '../../cluster/websocket/channels.ts';
import { messageOf, systemCode } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { ApiError } from './status.ts';

const PORT_FORWARD_PROTOCOL = 'portforward.k8s.io';

export interface PortForwardTarget {
  readonly pod: string;
  readonly uid: string;
  /** A connection to that port of the pod's loopback. Throws an Error with a `code`. */
  connect(port: number): Socket;
  readonly log: Logger;
}

/** How long the other direction may go on after one has ended (containerd's portForward). */
const LINGER_MILLISECONDS = 1000;

/** Answers a request for an upgrade to SPDY/3.1, and serves it to its end. Throws an {@link ApiError} for what is asked wrongly. */
export async function acceptSpdy(request: IncomingMessage, socket: Duplex, head: Buffer, target: PortForwardTarget): Promise<void> {
  if (!/^spdy\/3\.1$/i.test(request.headers.upgrade ?? '')) {
    throw new ApiError(
      400,
      'BadRequest',
      `unable to upgrade: missing upgrade headers in request: ${JSON.stringify(request.headers.upgrade)}`,
    );
  }
  const offered = [request.headers['x-stream-protocol-version'] ?? []].flat().flatMap((text) => text.split(/\s*,\s*/));
  if (offered.length > 0 && !offered.includes(PORT_FORWARD_PROTOCOL)) {
    throw new ApiError(
      403,
      'Forbidden',
      `unable to negotiate protocol: client supports ${offered.join(', ')}, server accepts ${PORT_FORWARD_PROTOCOL}`,
    );
  }
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${PORT_FORWARD_PROTOCOL}\r\n\r\n`,
  );
  await servePortForward(socket, head, target);
}

/**
 * Serves pods/portforward on a connection that was upgraded to SPDY/3.1: pairs of an error and a data stream with the
 * same `requestid` (kubelet's pkg/kubelet/server/portforward). Like containerd, a forward ends one second after either
 * side has ended its direction, and neither half-close reaches the other side before. Resolves when the connection is over.
 */
async function servePortForward(socket: Duplex, head: Buffer, target: PortForwardTarget): Promise<void> {
  const pairs = new Map<string, { error?: SpdyStream; data?: SpdyStream }>();
  const connection = new SpdyConnection(socket, {
    role: 'server',
    head,
    onStream: (stream) => {
      stream.on('error', (error) => target.log.debug({ err: error }, 'port-forward stream'));
      const { streamtype, port, requestid = port ?? '' } = stream.headers;
      if (streamtype !== 'error' && streamtype !== 'data') {
        stream.destroy();
        return;
      }
      const pair = pairs.get(requestid) ?? {};
      pair[streamtype] = stream;
      pairs.set(requestid, pair);
      connection.reply(stream);
      if (pair.error === undefined || pair.data === undefined) return;
      pairs.delete(requestid);
      forward(pair.error, pair.data, Number(port), target);
    },
  });
  await connection.closed;
}

/**
 * Serves one port on a WebSocket of v4.channel.k8s.io: the data's channel and the errors', each of which begins with the port (kubelet's
 * pkg/kubelet/portforward/websocket.go). Resolves when the connection is over.
 */
export async function serveWebSocketPortForward(socket: WebSocket, port: number, target: PortForwardTarget): Promise<void> {
  const connection = new ChannelConnection(socket, 2);
  const [data, error] = connection.channels;
  if (data === undefined || error === undefined) throw new Error('two channels were asked for');
  const number = Buffer.alloc(2);
  number.writeUInt16LE(port);
  for (const channel of [data, error]) {
    channel.on('error', (reason) => target.log.debug({ err: reason }, 'port-forward channel'));
    channel.write(number);
  }
  forward(error, data, port, target);
  connection.start();
  await connection.closed;
}

function forward(error: Duplex, data: Duplex, port: number, target: PortForwardTarget): void {
  // The client ends the error stream at once: nothing comes on it.
  error.resume();
  const fail = (cause: string): void => {
    if (!error.destroyed) error.write(`error forwarding port ${port} to pod ${target.pod}, uid ${target.uid}: ${cause}`);
  };
  const finish = (): void => {
    if (!error.destroyed) error.end();
    if (!data.destroyed) data.end();
  };
  let socket: Socket;
  try {
    socket = target.connect(port);
  } catch (reason) {
    const why = systemCode(reason) === 'ECONNREFUSED' ? 'connection refused' : messageOf(reason);
    fail(`failed to connect to localhost:${port} inside namespace "${target.uid}", IPv4: dial tcp4 127.0.0.1:${port}: connect: ${why}`);
    finish();
    // What the client still sends goes nowhere; a reset would overtake the text.
    data.resume();
    return;
  }
  let over = false;
  let timer: NodeJS.Timeout | undefined;
  const end = (): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    finish();
    data.unpipe(socket);
    socket.destroy();
    // What was received but not read by the client's side still goes out before the end (finish); nothing more comes in.
    data.resume();
  };
  const halfEnd = (): void => {
    timer ??= setTimeout(end, LINGER_MILLISECONDS);
  };
  data.on('end', halfEnd);
  data.on('close', end);
  error.on('close', () => undefined);
  socket.on('end', halfEnd);
  socket.on('close', end);
  socket.on('error', (reason) => {
    if (!over)
      fail(systemCode(reason) === 'ECONNRESET' ? `read tcp4 127.0.0.1:${port}: read: connection reset by peer` : messageOf(reason));
    end();
  });
  data.pipe(socket, { end: false });
  socket.pipe(data, { end: false });
}
