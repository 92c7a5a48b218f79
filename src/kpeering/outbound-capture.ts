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
          isOwn: (destination, source) => isOwn(destination) || ownCalls.has(source, destination, log),
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
 * as another group), each call of ours would be captured again, and passed on again: such a one is known by both its ends, and reset.
 * Its source alone would not do: the kernel gives a port that one of our calls has to calls of the app as well, if they go elsewhere.
 */
export class OwnCalls {
  readonly #connecting = new Map<Socket, Endpoint>();
  readonly #connected = new Map<string, Socket>();
  #reported = false;

  /** A socket that is about to be connected to `destination`. */
  add(socket: Socket, destination: Endpoint): void {
    this.#connecting.set(socket, destination);
    let key: string | undefined;
    socket.once('connect', () => {
      this.#connecting.delete(socket);
      key = keyOf(socket, destination);
      this.#connected.set(key, socket);
    });
    socket.once('close', () => {
      this.#connecting.delete(socket);
      if (key !== undefined && this.#connected.get(key) === socket) this.#connected.delete(key);
    });
  }

  /** Whether a captured flow is one of them. */
  has(source: Endpoint, destination: Endpoint, log: Logger): boolean {
    const key = keyOf({ localAddress: source.address, localPort: source.port }, destination);
    const own = this.#connected.has(key) || [...this.#connecting].some(([socket, to]) => keyOf(socket, to) === key);
    if (own && !this.#reported) {
      this.#reported = true;
      log.error(
        'a call of ours was captured: the rules do not know the sidecar. It must run as the group KPEERING_EXEMPT_GID (15300), or with the same KPEERING_EXEMPT_MARK as the init container',
      );
    }
    return own;
  }
}

function keyOf({ localAddress, localPort }: Pick<Socket, 'localAddress' | 'localPort'>, { address, port }: Endpoint): string {
  return `${localPort} ${port} ${localAddress} ${address}`;
}
