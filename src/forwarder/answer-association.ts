import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { messageOf, systemCode } from '../platform/errors.ts';
import { descriptorOf, setSocketOption, SO_MARK, SOL_SOCKET } from '../platform/libc.ts';
import { countRead } from '../tunnel/read-garbage.ts';
import type { AssociationEnd, DatagramSink, DialErrorClass, Endpoint, IncomingAssociation, TunnelAssociation } from '../tunnel/types.ts';
import { dialErrorClass, formatEndpoint } from './dial.ts';

/** RFC 4787 asks NATs for two minutes at least; Linux' conntrack, kube-proxy and istio give one-way UDP 30 to 60 s. */
export const ASSOCIATION_IDLE_MILLISECONDS = 60_000;

/** What may wait for a socket whose kernel buffer is full; beyond it datagrams are dropped. */
export const SEND_QUEUE_BYTES = 256 * 1024;
/** Asked for; the kernel gives as much as net.core.rmem_max allows. A burst must last until the event loop comes round. */
export const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** How an incoming association is answered. */
export interface AssociationOptions {
  /** Ends after this much time without a datagram in either direction; 60 s. */
  readonly idleMilliseconds?: number;
  /** SO_MARK of the socket, by which rules can know it; needs CAP_NET_RAW or CAP_NET_ADMIN. */
  readonly mark?: number;
  /** Makes the socket in the place of one of this machine's network: of the destination's family, not connected. */
  readonly open?: () => Promise<Socket>;
}

/** What became of an incoming association. */
export type AssociationResult =
  /** There is no way to the destination, and the far end was told so. */
  | { readonly kind: 'refused'; readonly errorClass: DialErrorClass; readonly message: string }
  | {
      readonly kind: 'ended';
      readonly ended: AssociationOutcome;
      /** Datagrams that the destination was sent, and those of its own. */
      readonly sent: number;
      readonly received: number;
      /** Datagrams for the destination that were not sent: larger than its network takes, or too many at once. */
      readonly dropped: number;
    };

export type AssociationOutcome =
  /** By the far end, or with the session. */
  | AssociationEnd
  /** There was no datagram for the idle time-out. */
  | { readonly kind: 'idle' }
  /** The destination refused a datagram (ICMP: nobody listens there), or cannot be reached any more. */
  | { readonly kind: 'failed'; readonly errorClass: DialErrorClass; readonly message: string };

/**
 * Answers an incoming association: a UDP socket that is connected to `destination` (so that the kernel reports what ICMP says), and
 * datagrams both ways until the far end closes it, the destination refuses, or it has been idle. Never rejects for what happens on the network.
 */
export async function answerAssociation(
  incoming: IncomingAssociation,
  destination: Endpoint,
  options: AssociationOptions = {},
): Promise<AssociationResult> {
  let socket: Socket;
  try {
    socket = await connectUdp(destination, options);
  } catch (error) {
    const errorClass = dialErrorClass(error);
    const message = `${formatEndpoint(destination)}: ${messageOf(error)}`;
    incoming.refuse(errorClass, message);
    return { kind: 'refused', errorClass, message };
  }
  return new AnsweredAssociation(socket, incoming.accept(), destination, options.idleMilliseconds ?? ASSOCIATION_IDLE_MILLISECONDS).done;
}

/** The socket has no error handler: the caller must set one. Rejects with the system's error. */
async function connectUdp(destination: Endpoint, { mark, open }: AssociationOptions): Promise<Socket> {
  const type = isIPv6(destination.address) ? 'udp6' : 'udp4';
  const socket = open === undefined ? createSocket({ type, recvBufferSize: RECEIVE_BUFFER_BYTES }) : await open();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once('error', reject);
  try {
    if (mark !== undefined) await setMark(socket, mark);
    socket.once('connect', resolve).connect(destination.port, destination.address);
    await promise;
    socket.off('error', reject);
    return socket;
  } catch (error) {
    socket.on('error', ignored).close();
    throw error;
  }
}

async function setMark(socket: Socket, mark: number): Promise<void> {
  // Its descriptor comes with the binding.
  const bound = once(socket, 'listening');
  socket.bind({ exclusive: true });
  await bound;
  const fd = descriptorOf(socket);
  if (fd === undefined) throw new Error('the socket has no descriptor');
  setSocketOption(fd, SOL_SOCKET, SO_MARK, mark);
}

class AnsweredAssociation implements DatagramSink {
  readonly done: Promise<AssociationResult>;
  readonly #socket: Socket;
  readonly #association: TunnelAssociation;
  readonly #destination: Endpoint;
  readonly #resolve: (result: AssociationResult) => void;
  readonly #idle: NodeJS.Timeout;
  readonly #onSent = (error: Error | null): void => this.#afterSend(error);
  #sent = 0;
  #received = 0;
  #dropped = 0;
  #ended = false;

  constructor(socket: Socket, association: TunnelAssociation, destination: Endpoint, idleMilliseconds: number) {
    this.#socket = socket;
    this.#association = association;
    this.#destination = destination;
    const { promise, resolve } = Promise.withResolvers<AssociationResult>();
    this.done = promise;
    this.#resolve = resolve;
    this.#idle = setTimeout(() => this.#close({ kind: 'idle' }), idleMilliseconds);
    socket.on('message', (payload) => {
      countRead(payload.length);
      this.#received += 1;
      this.#idle.refresh();
      association.send(payload);
    });
    socket.on('error', (error) => this.#failed(error));
    association.attach(this);
  }

  datagram(payload: Buffer): void {
    if (this.#ended) return;
    this.#idle.refresh();
    if (this.#socket.getSendQueueSize() > SEND_QUEUE_BYTES) {
      this.#dropped += 1;
      return;
    }
    this.#sent += 1;
    this.#socket.send(payload, this.#onSent);
  }

  closed(reason: AssociationEnd): void {
    this.#end(reason);
  }

  #afterSend(error: Error | null): void {
    if (error === null || this.#ended) return;
    this.#sent -= 1;
    this.#dropped += 1;
    if (!concernsOneDatagram(error)) this.#failed(error);
  }

  #failed(error: Error): void {
    if (concernsOneDatagram(error)) return;
    const message = `${formatEndpoint(this.#destination)}: ${messageOf(error)}`;
    this.#close({ kind: 'failed', errorClass: dialErrorClass(error), message });
  }

  #close(ended: AssociationOutcome): void {
    if (ended.kind === 'failed') this.#association.close({ errorClass: ended.errorClass, message: ended.message });
    else this.#association.close();
    this.#end(ended);
  }

  #end(ended: AssociationOutcome): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#idle);
    this.#socket.close();
    this.#resolve({ kind: 'ended', ended, sent: this.#sent, received: this.#received, dropped: this.#dropped });
  }
}

/** Too large for the way; the kernel is out of buffers for a moment; a firewall of this machine dropped it (EPERM of sendmsg). */
function concernsOneDatagram(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'EMSGSIZE' || code === 'ENOBUFS' || code === 'EAGAIN' || code === 'EPERM';
}

function ignored(): void {}
