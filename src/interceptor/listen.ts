import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { systemCode } from '../platform/errors.ts';
import { unmapped } from './original-destination.ts';
import type { Flow } from './types.ts';

/** The kernel lowers it to net.core.somaxconn, which is 4096 by default (listen(2)). */
const BACKLOG = 4096;
const KEEP_ALIVE_MILLISECONDS = 60_000;

/** Both families. In a network namespace without IPv6: IPv4. */
export const EVERYWHERE = '::';

/** A server as all interceptors have it: its connections are paused, half-open, without delay, and kept alive. Rejects with the system's error. */
export async function listenForFlows(host: string, port: number): Promise<Server> {
  const server = createServer({
    allowHalfOpen: true,
    pauseOnConnect: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MILLISECONDS,
  });
  try {
    server.listen({ host, port, backlog: BACKLOG });
    await once(server, 'listening');
    return server;
  } catch (error) {
    server.close();
    const code = systemCode(error);
    if (host === EVERYWHERE && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL')) return listenForFlows('0.0.0.0', port);
    throw error;
  }
}

/**
 * Makes a server that another process has opened (it came by IPC, without options) one as all interceptors have it. These are the properties in which
 * `createServer` keeps its options.
 */
export function setUpForFlows(server: Server): void {
  const keepAliveInitialDelay = KEEP_ALIVE_MILLISECONDS / 1000;
  Object.assign(server, { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true, keepAliveInitialDelay });
}

/** The port that a server got. */
export function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Where a connection came from; undefined when it was reset while it waited in the accept queue. */
export function sourceOf({ remoteAddress, remotePort }: Socket): Flow['source'] | undefined {
  return remoteAddress === undefined || remotePort === undefined ? undefined : { address: unmapped(remoteAddress), port: remotePort };
}

/** Gives a connection up that nobody is to get. */
export function turnAway(socket: Socket): void {
  socket.on('error', ignored);
  if (socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}

function ignored(): void {}
