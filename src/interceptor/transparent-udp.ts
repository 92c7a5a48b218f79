import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises';
import { messageOf, systemCode } from '../platform/errors.ts';
import { descriptorOf, IP_TRANSPARENT, IPPROTO_IP, IPPROTO_IPV6, IPV6_TRANSPARENT, setSocketOption } from '../platform/libc.ts';
import type { Logger } from '../platform/log.ts';
import type { Endpoint } from '../tunnel/types.ts';
import type { SwitchedInterceptor } from './types.ts';

/** How a transparent UDP listener is set up. */
export interface TransparentUdpOptions {
  /** Where the rules send captured datagrams: `udp dport P tproxy to :port`. One for each P, so that P is known. */
  readonly port: number;
  /** Called for each captured datagram; the buffer is the receiver's to keep. */
  readonly onDatagram: (payload: Buffer, source: Endpoint) => void;
  readonly log: Logger;
}

/** What one processor may still be doing with a packet that it took before the change. */
const SETTLE_MILLISECONDS = 20;
/** Turns of the event loop that a release reads what is queued, at most: those that send directly to `port` could keep it busy for ever. */
const LONGEST_DRAIN_TURNS = 1000;
/** Asked for; the kernel gives as much as net.core.rmem_max and wmem_max allow. */
const BUFFER_BYTES = 4 * 1024 * 1024;
/** What may wait for a socket whose kernel buffer is full; beyond it answers are dropped. */
const SEND_QUEUE_BYTES = 1024 * 1024;

/**
 * Captures the datagrams that nft's `tproxy to :port` sends here, of both families, as long as it is open; while it is not, the rule does
 * nothing, and they are the app's. The kernel decides for each packet. Needs CAP_NET_RAW, for IP_TRANSPARENT.
 *
 * The sockets are bound to the wildcard at `port`, because the app has its own port: answers leave from `port`, and a rule of the pod
 * (`udp sport port udp sport set P`, in the raw output hook) gives them the port that the caller expects.
 */
export class TransparentUdpListener implements SwitchedInterceptor {
  readonly description: string;
  readonly #options: TransparentUdpOptions;
  #sockets: readonly OfFamily[] | undefined;
  #opening: Promise<void> | undefined;
  #draining: Promise<void> | undefined;
  #wanted = false;
  /** Counts openings and closings: one that is draining learns by it that it is not to go on. */
  #changes = 0;
  #received = 0;
  #unsent = 0;

  constructor(options: TransparentUdpOptions) {
    this.#options = options;
    this.description = `TPROXY of UDP on port ${options.port}`;
  }

  /** Whether there are sockets, transparent or not. */
  get listening(): boolean {
    return this.#sockets !== undefined;
  }

  /** Answers that were dropped: too large for the way, too many at once, or to nobody's port. */
  get unsent(): number {
    return this.#unsent;
  }

  /** Sends an answer. False: it was dropped, and counted. */
  send(payload: Buffer, to: Endpoint): boolean {
    const { socket } = this.#sockets?.find(({ six }) => six === isIPv6(to.address)) ?? {};
    // Who sends from port 0 waits for no answer (RFC 768), and Node throws when it is asked to send there.
    if (to.port === 0 || socket === undefined || socket.getSendQueueSize() > SEND_QUEUE_BYTES) {
      this.#unsent += 1;
      return false;
    }
    socket.send(payload, to.port, to.address, this.#onSent);
    return true;
  }

  async open(): Promise<void> {
    this.#wanted = true;
    this.#changes += 1;
    if (this.#sockets === undefined) this.#opening ??= this.#listen().finally(() => (this.#opening = undefined));
    else setTransparent(this.#sockets, true);
    await this.#opening;
    // It was released while it opened, and is wanted again.
    if (this.#wanted && this.#sockets === undefined) await this.open();
  }

  async release(): Promise<void> {
    this.#wanted = false;
    const sockets = this.#sockets;
    if (sockets === undefined) return;
    setTransparent(sockets, false);
    this.#draining ??= this.#drain(sockets).finally(() => (this.#draining = undefined));
    await this.#draining;
  }

  /** Closes at once: what is queued is lost. */
  async close(): Promise<void> {
    this.#wanted = false;
    this.#changes += 1;
    this.#closeSockets();
    await this.#opening?.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #listen(): Promise<void> {
    const { port, log } = this.#options;
    const sockets: OfFamily[] = [];
    try {
      sockets.push({ socket: await bind('udp4', port), six: false });
      const socket = await bind('udp6', port).catch(withoutIPv6);
      if (socket !== undefined) sockets.push({ socket, six: true });
      if (this.#wanted) setTransparent(sockets, true);
    } catch (error) {
      closeAll(sockets);
      throw error;
    }
    if (!this.#wanted) {
      closeAll(sockets);
      return;
    }
    for (const { socket } of sockets) {
      socket.on('message', (payload, source) => this.#message(payload, source));
      socket.on('error', (error) => log.debug({ reason: messageOf(error) }, `${this.description}: a datagram was lost`));
    }
    this.#sockets = sockets;
  }

  readonly #onSent = (error: Error | null): void => {
    if (error === null) return;
    this.#unsent += 1;
    this.#options.log.debug({ reason: messageOf(error) }, `${this.description}: an answer was not sent`);
  };

  #message(payload: Buffer, { address, port }: RemoteInfo): void {
    this.#received += 1;
    this.#options.onDatagram(payload, { address, port });
  }

  /** Reads what was captured before, and closes. */
  async #drain(sockets: readonly OfFamily[]): Promise<void> {
    const changes = this.#changes;
    await pause(SETTLE_MILLISECONDS, undefined, { ref: false });
    // A turn of the event loop reads what is there. The one in which we are may have done so already.
    for (let turns = 0, quiet = 0; quiet < 2 && turns < LONGEST_DRAIN_TURNS && changes === this.#changes; turns += 1) {
      const before = this.#received;
      await turn();
      quiet = this.#received === before ? quiet + 1 : 0;
    }
    if (changes === this.#changes) this.#closeSockets();
    // Opened and released again meanwhile: that release waits here as well.
    else if (!this.#wanted && this.#sockets === sockets) await this.#drain(sockets);
  }

  #closeSockets(): void {
    const sockets = this.#sockets;
    this.#sockets = undefined;
    if (sockets !== undefined) closeAll(sockets);
  }
}

interface OfFamily {
  readonly socket: Socket;
  readonly six: boolean;
}

async function bind(type: 'udp4' | 'udp6', port: number): Promise<Socket> {
  const sizes = { recvBufferSize: BUFFER_BYTES, sendBufferSize: BUFFER_BYTES };
  // Addresses are never names: Node would ask its resolver for each datagram, a turn of its queue.
  const socket = createSocket({ type, ipv6Only: type === 'udp6', ...sizes, lookup: (address, _, found) => found(null, address, 0) });
  const bound = once(socket, 'listening');
  socket.bind({ port, address: type === 'udp6' ? '::' : '0.0.0.0', exclusive: true });
  try {
    await bound;
    return socket;
  } catch (error) {
    socket.on('error', ignored).close();
    throw error;
  }
}

/** A pod whose network has no IPv6. */
function withoutIPv6(error: unknown): undefined {
  const code = systemCode(error);
  if (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL') throw error;
}

function setTransparent(sockets: readonly OfFamily[], transparent: boolean): void {
  for (const { socket, six } of sockets) {
    const fd = descriptorOf(socket);
    if (fd === undefined) throw new Error('the listener has no descriptor');
    setSocketOption(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_TRANSPARENT : IP_TRANSPARENT, transparent ? 1 : 0);
  }
}

function closeAll(sockets: readonly OfFamily[]): void {
  for (const { socket } of sockets) socket.on('error', ignored).close();
}

function ignored(): void {}
