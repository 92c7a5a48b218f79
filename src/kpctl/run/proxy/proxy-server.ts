import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Closeable } from '../../../platform/owned.ts';
import type { AssociationHandler } from '../../../simulator/network/index.ts';
import { ProxyAccess } from './access.ts';
import type { Dialler } from './dialler.ts';
import { HttpProxy } from './http-proxy.ts';
import { SocksProxy } from './socks-proxy.ts';

export interface ProxyServerOptions {
  readonly dialler: Dialler;
  /** Carries the datagrams of SOCKS5's UDP ASSOCIATE. */
  readonly onAssociation: AssociationHandler;
}

/** A client that says nothing at all is left. */
const SILENCE_MILLISECONDS = 120_000;
/** The first byte of SOCKS. No method of HTTP begins with one of these. */
const SOCKS_VERSIONS = new Set([4, 5]);

/** The proxy of one command: HTTP and SOCKS5 on one port of 127.0.0.1, for whoever knows the password. */
export class ProxyServer implements Closeable {
  readonly access = new ProxyAccess();
  readonly #server: Server;
  readonly #http: HttpProxy;
  readonly #socks: SocksProxy;
  readonly #sockets = new Set<Socket>();
  #closing: Promise<void> | undefined;

  private constructor({ dialler, onAssociation }: ProxyServerOptions) {
    this.#http = new HttpProxy(this.access, dialler);
    this.#socks = new SocksProxy(this.access, dialler, onAssociation);
    this.#server = createServer({ allowHalfOpen: true, noDelay: true });
    this.#server.on('connection', (socket) => this.#accept(socket));
  }

  /** Listens on a port that the system chooses. */
  static async listen(options: ProxyServerOptions): Promise<ProxyServer> {
    const proxy = new ProxyServer(options);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Ends all connections, which are reset. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) {
      // A reset while a half-close is under way fails in libuv, and Node never closes the socket then.
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
    this.#http.close();
    await closed;
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    // Each protocol has listeners of its own as well; this one holds where none is.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
    const silent = setTimeout(() => socket.destroy(), SILENCE_MILLISECONDS);
    socket.once('close', () => clearTimeout(silent));
    socket.once('end', () => socket.bytesRead === 0 && socket.end());
    socket.once('data', (chunk: Buffer) => {
      clearTimeout(silent);
      socket.pause();
      socket.unshift(chunk);
      if (SOCKS_VERSIONS.has(chunk[0] ?? 0)) {
        void this.#socks.serve(socket);
      } else {
        this.#http.accept(socket);
        process.nextTick(() => socket.resume());
      }
    });
  }
}
