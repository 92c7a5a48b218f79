import { Agent, type ClientRequest } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { asDuplex } from './carry.ts';
import type { Dialler } from './dialler.ts';
import type { Target } from './http-headers.ts';
import { proxyAuthorization } from './own-proxy.ts';

/** A connection that the next request takes. */
export interface UpstreamRoute {
  /** What the request line says: the path, or the whole URL for this machine's own proxy. */
  readonly requestTarget: string;
  readonly proxyAuthorization: string | undefined;
}

/**
 * The connections that plain HTTP requests of one program's connection are passed on by, kept open between them as Node's Agent does. They end
 * with the program's own: no other's request ever goes over them.
 */
export class UpstreamConnections extends Agent {
  readonly #client: Socket;
  readonly #dialler: Dialler;
  readonly #gone = new AbortController();
  /** Of this machine's own proxy, by destination; undefined: none. */
  readonly #proxies = new Map<string, URL | undefined>();
  #prepared: Duplex | undefined;

  constructor(client: Socket, dialler: Dialler) {
    super({ keepAlive: true });
    this.#client = client;
    this.#dialler = dialler;
    client.once('close', () => {
      this.#gone.abort(new Error('the program has closed its connection'));
      this.destroy();
    });
  }

  /**
   * Makes sure that there is a connection, and makes the request on it, with no other of a program that does not wait for answers between. `fresh`: on none
   * that was used before. Rejects with Refusal.
   */
  async request(target: Target, fresh: boolean, make: (route: UpstreamRoute) => ClientRequest): Promise<ClientRequest> {
    const { host, port } = target;
    const name = this.getName({ host, port });
    const idle = this.freeSockets[name] ?? [];
    if (fresh) for (const socket of idle) socket.destroy();
    if (fresh || !idle.some((socket) => !socket.destroyed)) {
      const source = { address: this.#client.remoteAddress ?? '127.0.0.1', port: this.#client.remotePort ?? 0 };
      const dialled = await this.#dialler.dial({ host, port, use: 'http', source, signal: this.#gone.signal });
      this.#proxies.set(name, dialled.kind === 'socket' ? dialled.proxy : undefined);
      this.#prepared = asDuplex(dialled).on('error', () => undefined);
      if (this.#client.destroyed) this.#prepared.destroy();
    }
    try {
      return make(this.#route(name, target));
    } finally {
      // An earlier request has left its connection meanwhile, which the agent prefers; or there is no request.
      this.#prepared?.destroy();
      this.#prepared = undefined;
    }
  }

  #route(name: string, target: Target): UpstreamRoute {
    const proxy = this.#proxies.get(name);
    if (proxy === undefined) return { requestTarget: target.path, proxyAuthorization: undefined };
    return { requestTarget: `http://${target.authority}${target.path}`, proxyAuthorization: proxyAuthorization(proxy) };
  }

  override createConnection(): Duplex {
    const prepared = this.#prepared;
    this.#prepared = undefined;
    if (prepared === undefined) throw new Error('no connection was prepared');
    // A dialled socket is paused, and Node's client listens before anything can come.
    return prepared.resume();
  }

  /** A stream of the tunnel has no keep-alive of its own to set, as Agent's would. One that the far end closes while it is idle is of no use. */
  override keepSocketAlive(socket: Duplex): boolean {
    socket.on('end', destroyIdle);
    return !socket.readableEnded;
  }

  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    socket.off('end', destroyIdle);
    request.reusedSocket = true;
  }

  override destroy(): void {
    this.#prepared?.destroy();
    super.destroy();
  }
}

function destroyIdle(this: Duplex): void {
  this.destroy();
}
