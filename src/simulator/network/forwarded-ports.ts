import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { spliceSockets } from '../../forwarder/splice.ts';
import { systemCode } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { ListeningPorts } from './listening-ports.ts';

/** Why a port of COMMAND is not reachable on the laptop: `EADDRINUSE`, `EACCES`, or another code of bind(2). */
export interface UnavailablePort {
  readonly port: number;
  readonly code: string;
}

export interface ForwardedPortsOptions {
  /** Connects inside: `InsideProcess.connect`. */
  readonly connect: (address: string, port: number) => Promise<Socket>;
  /** Called once per port for as long as COMMAND listens on it. */
  readonly onUnavailable: (port: UnavailablePort) => void;
  /** Called after the ports that are reachable have changed. */
  readonly onChange: (ports: readonly number[]) => void;
}

/** Makes the ports on which COMMAND listens reachable at the same port of the laptop's 127.0.0.1. */
export class ForwardedPorts implements Closeable {
  readonly #options: ForwardedPortsOptions;
  readonly #servers = new Map<number, Server>();
  readonly #unavailable = new Set<number>();
  readonly #sockets = new Set<Socket>();
  #wanted: ListeningPorts = new Map();
  #updating: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: ForwardedPortsOptions) {
    this.#options = options;
  }

  /** Ports that are reachable now, ascending. */
  get ports(): readonly number[] {
    return [...this.#servers.keys()].toSorted((a, b) => a - b);
  }

  /** Where inside a port can be reached, best first. */
  addressesOf(port: number): readonly string[] {
    return this.#wanted.get(port) ?? ['127.0.0.1', '::1'];
  }

  /** Follows what COMMAND listens on now. Connections that exist go on. Never rejects. */
  update(wanted: ListeningPorts): Promise<void> {
    this.#wanted = wanted;
    this.#updating = this.#updating.then(() => this.#follow());
    return this.#updating;
  }

  /** A connection to `port` inside, at the first of its addresses that answers. */
  async connect(port: number): Promise<Socket> {
    const [first = '127.0.0.1', ...others] = this.addressesOf(port);
    let result = this.#options.connect(first, port);
    for (const address of others) result = result.catch(() => this.#options.connect(address, port));
    return result;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.update(new Map());
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #follow(): Promise<void> {
    const before = this.ports.join();
    for (const [port, server] of this.#servers) {
      if (this.#wanted.has(port)) continue;
      this.#servers.delete(port);
      server.close();
    }
    for (const port of this.#unavailable) if (!this.#wanted.has(port)) this.#unavailable.delete(port);
    for (const port of this.#wanted.keys()) if (!this.#servers.has(port)) await this.#open(port);
    if (this.ports.join() !== before && !this.#closed) this.#options.onChange(this.ports);
  }

  /** A port that is taken is tried again with the next change, without another word. */
  async #open(port: number): Promise<void> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => void this.#carry(socket, port));
    try {
      server.listen({ host: '127.0.0.1', port, exclusive: true, backlog: 4096 });
      await once(server, 'listening');
    } catch (error) {
      if (!this.#unavailable.has(port)) this.#options.onUnavailable({ port, code: systemCode(error) ?? 'UNKNOWN' });
      this.#unavailable.add(port);
      return;
    }
    this.#unavailable.delete(port);
    // Running out of descriptors must not end the program; the client waits in the backlog.
    server.on('error', () => undefined);
    this.#servers.set(port, server);
  }

  async #carry(socket: Socket, port: number): Promise<void> {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    // Until the splice has its own: a client that is gone is noticed there.
    const ignore = (): void => undefined;
    socket.on('error', ignore);
    socket.setNoDelay(true);
    try {
      const inside = await this.connect(port);
      await spliceSockets(socket, inside);
    } catch {
      socket.resetAndDestroy();
    }
  }
}
