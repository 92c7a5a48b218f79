import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { Failure, systemCode } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { Endpoint } from '../tunnel/types.ts';
import { originalDestination, unmapped } from './original-destination.ts';
import type { FlowHandler, Interceptor } from './types.ts';

/** The kernel lowers it to net.core.somaxconn, which is 4096 by default (listen(2)). */
const BACKLOG = 4096;
const KEEP_ALIVE_MILLISECONDS = 60_000;

/** How a redirect listener is set up. */
export interface RedirectOptions {
  /** `0.0.0.0` in a pod: REDIRECT from PREROUTING lands on the interface's own address. */
  readonly host: string;
  readonly port: number;
  readonly onFlow: FlowHandler;
  /** Ports of kpeering itself: a connection to one of them is reset, so that nothing can loop. */
  readonly ownPorts?: readonly number[];
  readonly log: Logger;
}

/** An interceptor that counts the connections which nothing had redirected. */
export interface RedirectInterceptor extends Interceptor {
  /** Where it listens: the port is the kernel's choice when 0 was asked for. */
  readonly port: number;
  /** Connections that were reset because somebody dialled the listener, or another port of ours, directly. */
  readonly notRedirected: number;
}

/**
 * Captures what iptables REDIRECT (or nft's `redirect to`) sends to this port; the original destination comes from
 * SO_ORIGINAL_DST. Rejects with a Failure `LISTEN_FAILED`.
 */
export async function listenRedirect(options: RedirectOptions): Promise<RedirectInterceptor> {
  const server = createServer({
    allowHalfOpen: true,
    pauseOnConnect: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MILLISECONDS,
  });
  server.listen({ host: options.host, port: options.port, backlog: BACKLOG });
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new Failure('LISTEN_FAILED', `cannot listen on ${options.host}:${options.port} for captured connections`, {
      likely: systemCode(error) === 'EADDRINUSE' ? 'another program has the port' : `the system says ${systemCode(error) ?? 'no'}`,
      cause: error,
    });
  }
  return new RedirectListener(server, options);
}

class RedirectListener implements RedirectInterceptor {
  readonly description: string;
  readonly port: number;
  notRedirected = 0;
  readonly #server: Server;
  readonly #options: RedirectOptions;
  readonly #ownPorts: ReadonlySet<number>;

  constructor(server: Server, options: RedirectOptions) {
    const address = server.address();
    this.port = typeof address === 'object' && address !== null ? address.port : options.port;
    this.description = `REDIRECT on ${options.host}:${this.port}`;
    this.#server = server;
    this.#options = options;
    this.#ownPorts = new Set(options.ownPorts);
    server.on('connection', (socket) => this.#accepted(socket));
    // accept(2) can fail for want of file descriptors: libuv goes on, and so do we.
    server.on('error', (error) => options.log.warn({ err: error }, `${this.description} could not accept`));
  }

  async close(): Promise<void> {
    // The server's own 'close' waits for its connections, which are their receivers'.
    if (this.#server.listening) this.#server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accepted(socket: Socket): void {
    const { remoteAddress, remotePort } = socket;
    // Reset while it waited in the accept queue.
    if (remoteAddress === undefined || remotePort === undefined) {
      socket.on('error', ignored).destroy();
      return;
    }
    const destination = originalDestination(socket);
    if (destination === undefined || this.#ownPorts.has(destination.port) || isItself(socket, destination)) {
      this.notRedirected += 1;
      this.#options.log.debug({ remoteAddress, destination }, 'reset a connection that was not redirected');
      socket.on('error', ignored).resetAndDestroy();
      return;
    }
    this.#options.onFlow({ socket, source: { address: unmapped(remoteAddress), port: remotePort }, destination });
  }
}

function isItself(socket: Socket, destination: Endpoint): boolean {
  return destination.port === socket.localPort && destination.address === unmapped(socket.localAddress ?? '');
}

function ignored(): void {}
