import type { Socket } from 'node:net';
import { listenRedirect, type RedirectInterceptor } from '../interceptor/redirect.ts';
import type { FlowHandler, InterceptorCounters } from '../interceptor/types.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import type { Endpoint } from '../tunnel/types.ts';
import { loopbackAddresses } from './loopback.ts';

export interface OutboundCaptureOptions {
  /** Where the rules send the pod's own calls; the redirect of nat OUTPUT lands on loopback. */
  readonly port: number;
  readonly onFlow: FlowHandler;
  /** Whether this is a port of kpeering itself in this pod. */
  readonly isOwn: (destination: Endpoint) => boolean;
  /** Our own calls that are under way: one of them that comes back would do so for ever. */
  readonly ownCalls: OwnCalls;
  readonly counters: InterceptorCounters;
  readonly log: Logger;
}

/** The pod's own TCP calls, as far as the rules capture them; in both modes by REDIRECT. */
export class OutboundCapture implements Closeable {
  readonly #interceptors: readonly RedirectInterceptor[];

  private constructor(interceptors: readonly RedirectInterceptor[]) {
    this.#interceptors = interceptors;
  }

  /** Rejects with a Failure `LISTEN_FAILED`. */
  static async listen(options: OutboundCaptureOptions): Promise<OutboundCapture> {
    const { port, onFlow, isOwn, ownCalls, counters, log } = options;
    const interceptors: RedirectInterceptor[] = [];
    try {
      for (const host of loopbackAddresses()) {
        const interceptor = await listenRedirect({
          host,
          port,
          onFlow: (flow) => onFlow({ ...flow, outbound: true }),
          isOwn: (destination, source) => isOwn(destination) || ownCalls.has(source, log),
          counters,
          log,
        });
        interceptors.push(interceptor);
      }
    } catch (error) {
      await closeAll(interceptors);
      throw error;
    }
    return new OutboundCapture(interceptors);
  }

  /** Stops accepting; flows that were handed out go on. */
  async close(): Promise<void> {
    await closeAll(this.#interceptors);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function closeAll(interceptors: readonly RedirectInterceptor[]): Promise<void> {
  await Promise.all(interceptors.map(async (interceptor) => interceptor.close()));
}

/**
 * The sockets by which we pass the pod's calls on. The rules know our calls by our group or mark; where they do not (a sidecar that runs
 * as another group), each call of ours would be captured again, and passed on again: such a one is known by its port, and reset.
 */
export class OwnCalls {
  readonly #connecting = new Set<Socket>();
  readonly #connected = new Map<number, Socket>();
  #reported = false;

  add(socket: Socket): void {
    this.#connecting.add(socket);
    let port: number | undefined;
    socket.once('connect', () => {
      this.#connecting.delete(socket);
      port = socket.localPort;
      if (port !== undefined) this.#connected.set(port, socket);
    });
    socket.once('close', () => {
      this.#connecting.delete(socket);
      if (port !== undefined && this.#connected.get(port) === socket) this.#connected.delete(port);
    });
  }

  /** Whether a captured flow comes from one of them. */
  has(source: Endpoint, log: Logger): boolean {
    const connected = this.#connected.get(source.port);
    const own =
      (connected !== undefined && connected.localAddress === source.address) ||
      [...this.#connecting].some((socket) => socket.localPort === source.port && socket.localAddress === source.address);
    if (own && !this.#reported) {
      this.#reported = true;
      log.error(
        'a call of ours was captured: the rules do not know the sidecar. It must run as the group KPEERING_EXEMPT_GID (15300), or with the same KPEERING_EXEMPT_MARK as the init container',
      );
    }
    return own;
  }
}
