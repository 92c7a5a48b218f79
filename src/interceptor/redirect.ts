import type { Server, Socket } from 'node:net';
import { Failure, systemCode } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { Endpoint } from '../tunnel/types.ts';
import { listenForFlows, portOf, setUpForFlows, sourceOf, turnAway } from './listen.ts';
import { originalDestination, unmapped } from './original-destination.ts';
import type { FlowHandler, Interceptor, InterceptorCounters } from './types.ts';

/** How a redirect listener is set up. */
export interface RedirectOptions {
  /** `::` (both families) in a pod: REDIRECT from PREROUTING lands on the interface's own address. Loopback for what comes from OUTPUT. */
  readonly host: string;
  readonly port: number;
  readonly onFlow: FlowHandler;
  /** Whether a connection to this destination is one to kpeering itself: it is reset, so that nothing can loop. */
  readonly isOwn?: (destination: Endpoint, source: Endpoint) => boolean;
  readonly counters?: InterceptorCounters;
  readonly log: Logger;
}

/** An interceptor of redirected connections. */
export interface RedirectInterceptor extends Interceptor {
  /** Where it listens: the port is the kernel's choice when 0 was asked for. */
  readonly port: number;
}

/**
 * Captures what iptables REDIRECT (or nft's `redirect to`) sends to this port; the original destination comes from
 * SO_ORIGINAL_DST. Rejects with a Failure `LISTEN_FAILED`.
 */
export async function listenRedirect(options: RedirectOptions): Promise<RedirectInterceptor> {
  try {
    return new RedirectListener(await listenForFlows(options.host, options.port), options);
  } catch (error) {
    throw new Failure('LISTEN_FAILED', `cannot listen on ${options.host}:${options.port} for captured connections`, {
      likely: systemCode(error) === 'EADDRINUSE' ? 'another program has the port' : `the system says ${systemCode(error) ?? 'no'}`,
      cause: error,
    });
  }
}

/** The same for a server that listens already, as another process has handed it over: its connections are set up like those of `listenRedirect`. */
export function adoptRedirect(server: Server, options: Omit<RedirectOptions, 'host' | 'port'>): RedirectInterceptor {
  setUpForFlows(server);
  return new RedirectListener(server, options);
}

class RedirectListener implements RedirectInterceptor {
  readonly description: string;
  readonly port: number;
  readonly #server: Server;
  readonly #options: Omit<RedirectOptions, 'host' | 'port'>;

  constructor(server: Server, options: Omit<RedirectOptions, 'host' | 'port'>) {
    const address = server.address();
    this.port = portOf(server);
    this.description = `REDIRECT on ${typeof address === 'object' && address !== null ? address.address : ''}:${this.port}`;
    this.#server = server;
    this.#options = options;
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
    const { onFlow, isOwn, counters, log } = this.#options;
    const source = sourceOf(socket);
    if (source === undefined) {
      turnAway(socket);
      return;
    }
    const destination = originalDestination(socket);
    if (destination === undefined || isItself(socket, destination) || isOwn?.(destination, source) === true) {
      if (counters !== undefined) counters.ownPortDials += 1;
      log.debug({ source, destination }, 'reset a connection that was not redirected, or to a port of kpeering');
      turnAway(socket);
      return;
    }
    onFlow({ socket, source, destination });
  }
}

function isItself(socket: Socket, destination: Endpoint): boolean {
  return destination.port === socket.localPort && destination.address === unmapped(socket.localAddress ?? '');
}
