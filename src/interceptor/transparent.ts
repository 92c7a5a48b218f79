import type { Server, Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../platform/errors.ts';
import { IPPROTO_IP, IP_TRANSPARENT, descriptorOf, setSocketOption } from '../platform/libc.ts';
import type { Logger } from '../platform/log.ts';
import { TcpStates, acceptQueueLength, tcpSockets } from '../platform/socket-diagnostics.ts';
import { EVERYWHERE, listenForFlows, portOf, sourceOf, turnAway } from './listen.ts';
import { unmapped } from './original-destination.ts';
import type { FlowHandler, InterceptorCounters, SwitchedInterceptor } from './types.ts';

/** How a transparent listener is set up. */
export interface TransparentOptions {
  /** Where the rules send captured connections: `tproxy to :port`. */
  readonly port: number;
  readonly onFlow: FlowHandler;
  /** Whether a connection to this port is one of kpeering's own: it is reset, so that nothing can loop. */
  readonly isOwnPort: (port: number) => boolean;
  readonly counters: InterceptorCounters;
  readonly log: Logger;
}

/** What one processor may still be doing with a packet that it took before the change. */
const SETTLE_MILLISECONDS = 20;
const LONGEST_PAUSE_MILLISECONDS = 1000;
/** tcp_synack_retries is 5: the kernel forgets a handshake after 63 s (tcp(7)). */
const LONGEST_HANDSHAKE_MILLISECONDS = 70_000;
/** Where the kernel does not tell of its handshakes: time for one that lost a packet, which is sent again after 1 s. */
const BLIND_PAUSE_MILLISECONDS = 3000;

/**
 * Captures what nft's `tproxy to :port` sends here, as long as it is open; while it is not, the rule does nothing. A connection's
 * local address is its original destination. IP_TRANSPARENT needs CAP_NET_RAW.
 *
 * It is released in this order, so that no connection is reset: IP_TRANSPARENT is cleared, and new handshakes are the app's from
 * then on; those that had begun end here, and are accepted; then the listener is closed. A listener that is not transparent costs
 * nothing, so this may take as long as the slowest handshake.
 */
export class TransparentListener implements SwitchedInterceptor {
  readonly description: string;
  readonly #options: TransparentOptions;
  #server: Server | undefined;
  #opening: Promise<void> | undefined;
  #draining: Promise<void> | undefined;
  #wanted = false;
  /** Counts openings: one that is draining learns by it that it is open again. */
  #openings = 0;

  constructor(options: TransparentOptions) {
    this.#options = options;
    this.description = `TPROXY on port ${options.port}`;
  }

  /** Whether there is a listening socket, transparent or not. */
  get listening(): boolean {
    return this.#server !== undefined;
  }

  async open(): Promise<void> {
    this.#wanted = true;
    this.#openings += 1;
    if (this.#server === undefined) this.#opening ??= this.#listen().finally(() => (this.#opening = undefined));
    else setTransparent(this.#server, true);
    await this.#opening;
    // It was released while it opened, and is wanted again.
    if (this.#wanted && this.#server === undefined) await this.open();
  }

  async release(): Promise<void> {
    this.#wanted = false;
    const server = this.#server;
    if (server === undefined) return;
    setTransparent(server, false);
    // Once more when it was opened and released again while it drained.
    while (!this.#wanted && this.#server === server) {
      this.#draining ??= this.#drain(server).finally(() => (this.#draining = undefined));
      await this.#draining;
    }
  }

  /** Closes at once: handshakes that have not ended are reset. */
  async close(): Promise<void> {
    this.#wanted = false;
    const server = this.#server;
    this.#server = undefined;
    this.#openings += 1;
    server?.close();
    await this.#opening?.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #listen(): Promise<void> {
    const { log, port } = this.#options;
    const server = await listenForFlows(EVERYWHERE, port);
    if (!this.#wanted) {
      server.close();
      return;
    }
    try {
      setTransparent(server, true);
    } catch (error) {
      server.close();
      throw error;
    }
    server.on('connection', (socket) => this.#accepted(socket, portOf(server)));
    // accept(2) can fail for want of file descriptors: libuv goes on, and so do we.
    server.on('error', (error) => log.warn({ err: error }, `${this.description} could not accept`));
    this.#server = server;
  }

  async #drain(server: Server): Promise<void> {
    const opening = this.#openings;
    const deadline = performance.now() + LONGEST_HANDSHAKE_MILLISECONDS;
    const goesOn = async (milliseconds: number): Promise<boolean> => {
      await pause(milliseconds, undefined, { ref: false });
      return opening === this.#openings && performance.now() < deadline;
    };
    await this.#handshakesEnd(goesOn);
    // One that has ended is in the queue a moment after it has left the kernel's list.
    while (await goesOn(SETTLE_MILLISECONDS)) if (waiting(server) === 0) break;
    if (opening !== this.#openings) return;
    this.#server = undefined;
    server.close();
  }

  /** Resolves when the handshakes that had begun before have ended, whoever of this port's listeners they are for. */
  async #handshakesEnd(goesOn: (milliseconds: number) => Promise<boolean>): Promise<void> {
    if (!(await goesOn(SETTLE_MILLISECONDS))) return;
    let milliseconds = SETTLE_MILLISECONDS;
    let pending: readonly string[] | undefined;
    for (;;) {
      let now: ReadonlySet<string>;
      try {
        now = new Set(handshakes());
      } catch (error) {
        this.#options.log.debug({ reason: messageOf(error) }, 'the kernel does not tell of handshakes');
        await goesOn(BLIND_PAUSE_MILLISECONDS);
        return;
      }
      // Those that began later are the app's.
      pending = pending === undefined ? [...now] : pending.filter((handshake) => now.has(handshake));
      if (pending.length === 0 || !(await goesOn(milliseconds))) return;
      milliseconds = Math.min(milliseconds * 2, LONGEST_PAUSE_MILLISECONDS);
    }
  }

  #accepted(socket: Socket, listener: number): void {
    const { onFlow, isOwnPort, counters, log } = this.#options;
    const source = sourceOf(socket);
    const { localAddress, localPort } = socket;
    if (source === undefined || localAddress === undefined || localPort === undefined) {
      turnAway(socket);
      return;
    }
    if (localPort === listener || isOwnPort(localPort)) {
      counters.ownPortDials += 1;
      log.debug({ source, port: localPort }, 'reset a connection to a port of kpeering');
      turnAway(socket);
      return;
    }
    onFlow({ socket, source, destination: { address: unmapped(localAddress), port: localPort } });
  }
}

/** IPV6_TRANSPARENT is the same bit of the socket, and a socket of either family takes the option of IPv4 (net/ipv4/ip_sockglue.c). */
function setTransparent(server: Server, transparent: boolean): void {
  const fd = descriptorOf(server);
  if (fd === undefined) throw new Error('the listener has no descriptor');
  setSocketOption(fd, IPPROTO_IP, IP_TRANSPARENT, transparent ? 1 : 0);
}

function waiting(server: Server): number {
  const fd = descriptorOf(server);
  return fd === undefined ? 0 : acceptQueueLength(fd);
}

function handshakes(): string[] {
  return tcpSockets(TcpStates.synReceived).map((socket) => Object.values(socket).join('/'));
}
