import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * Lives in one network namespace of a test's world, and makes sockets there for the test, which gets the descriptors over
 * IPC: so a test holds real sockets of any namespace.
 */
export type AgentRequest =
  | { readonly id: number; readonly kind: 'connect'; readonly host: string; readonly port: number; readonly localAddress?: string }
  | { readonly id: number; readonly kind: 'listen'; readonly host: string; readonly port: number }
  | { readonly id: number; readonly kind: 'datagrams'; readonly host: string; readonly port: number };

export interface AgentAnswer {
  readonly id: number;
  /** The system's error code; the handle that comes with the message is the answer otherwise. */
  readonly error?: string;
}

function answer(message: AgentAnswer, handle?: Socket | Server | DatagramSocket): void {
  process.send?.(message, handle, {}, () => {
    // The test's copy is the one that counts; this one would keep the connection, or accept.
    if (handle !== undefined && 'close' in handle) handle.close();
  });
}

process.on('message', (request: AgentRequest) => {
  const { id } = request;
  const failed = (error: Error): void => answer({ id, error: 'code' in error ? String(error.code) : error.message });
  if (request.kind === 'listen') {
    const server = createServer().once('error', failed);
    server.listen({ host: request.host, port: request.port, backlog: 511 }, () => answer({ id }, server));
    return;
  }
  if (request.kind === 'datagrams') {
    const datagrams = createSocket({ type: request.host.includes(':') ? 'udp6' : 'udp4', ipv6Only: request.host.includes(':') }).once(
      'error',
      failed,
    );
    datagrams.bind({ port: request.port, address: request.host }, () => answer({ id }, datagrams));
    return;
  }
  const { host, port, localAddress } = request;
  const socket = connect({ host, port, allowHalfOpen: true, ...(localAddress === undefined ? {} : { localAddress }) });
  // Before it is connected: nothing may be read here.
  socket.pause();
  socket.once('error', failed).once('connect', () => answer({ id }, socket));
});
process.on('disconnect', () => process.exit());
