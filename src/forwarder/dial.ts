import { isIPv6, Socket, type TcpSocketConnectOpts } from 'node:net';
import type { AbortOptions } from '../platform/abort.ts';
import { messageOf, systemCode } from '../platform/errors.ts';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_IP,
  IP_TRANSPARENT,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  SO_MARK,
  closeDescriptor,
  openSocket,
  setSocketOption,
} from '../platform/libc.ts';
import type { DialErrorClass, Endpoint } from '../tunnel/types.ts';

/** A destination that could not be reached; the message names it. */
export class DialError extends Error {
  override readonly name = 'DialError';
  readonly errorClass: DialErrorClass;

  constructor(errorClass: DialErrorClass, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.errorClass = errorClass;
  }
}

/** How to dial. */
export interface DialOptions extends AbortOptions {
  /** 10 s: longer than a pod that starts needs to answer a SYN, shorter than the kernel's two minutes. */
  readonly timeoutMilliseconds?: number;
  /** The address to dial from. */
  readonly localAddress?: string;
  /** The port to dial from. */
  readonly localPort?: number;
  /** `localAddress` is not this machine's: IP_TRANSPARENT allows it, which needs CAP_NET_RAW. The answers must be routed here (ip-rule(8)). */
  readonly foreignSource?: boolean;
  /** SO_MARK of the socket, by which rules can know it; needs CAP_NET_RAW or CAP_NET_ADMIN. */
  readonly mark?: number;
  /** Told of the socket before it connects. */
  readonly onSocket?: (socket: Socket) => void;
}

const DEFAULT_TIMEOUT_MILLISECONDS = 10_000;
/** The first keep-alive probe, after this much silence: below the five minutes after which NAT tables forget. */
const KEEP_ALIVE_MILLISECONDS = 60_000;

/** connect(2)'s errors, and getaddrinfo(3)'s. */
const classes: Readonly<Record<string, DialErrorClass>> = {
  ECONNREFUSED: 'refused',
  // A RST in the middle of the handshake, from a listener that is closing.
  ECONNRESET: 'refused',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
  ENETDOWN: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  ENOTFOUND: 'unreachable',
  EAI_AGAIN: 'unreachable',
  ETIMEDOUT: 'timeout',
  EACCES: 'denied',
  EPERM: 'denied',
  EAFNOSUPPORT: 'unsupported',
};

/** The class of an error that connecting a socket gave. */
export function dialErrorClass(error: unknown): DialErrorClass {
  return classes[systemCode(error) ?? ''] ?? 'failed';
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export function formatEndpoint({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * Connects over TCP. The socket is paused (nothing has been read from it), with `allowHalfOpen`, TCP_NODELAY and keep-alive; it has
 * no error handler: the caller must set one, as `spliceStream` does. Rejects with DialError, or with the signal's reason.
 */
export async function dialTcp(destination: Endpoint, options: DialOptions = {}): Promise<Socket> {
  const { signal, timeoutMilliseconds = DEFAULT_TIMEOUT_MILLISECONDS, localAddress, localPort } = options;
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const name = formatEndpoint(destination);
  const connectOptions: TcpSocketConnectOpts = {
    host: destination.address,
    port: destination.port,
    ...(localAddress === undefined ? {} : { localAddress }),
    ...(localPort === undefined ? {} : { localPort }),
  };
  const socket = newSocket(destination, options);
  options.onSocket?.(socket);
  // Before it is connected, so that Node does not read ahead.
  socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MILLISECONDS).connect(connectOptions).pause();
  function failed(error: Error): void {
    reject(new DialError(dialErrorClass(error), `${name}: ${messageOf(error)}`, { cause: error }));
  }
  function aborted(): void {
    reject(signal?.reason);
  }
  const timer = setTimeout(() => {
    reject(new DialError('timeout', `${name} did not answer within ${timeoutMilliseconds / 1000} s`));
  }, timeoutMilliseconds);
  signal?.addEventListener('abort', aborted, { once: true });
  socket.once('error', failed).once('connect', () => resolve(socket));
  try {
    const connected = await promise;
    socket.off('error', failed);
    return connected;
  } catch (error) {
    // Closing a socket that is still connecting may report an error: nobody waits for it any more.
    socket.off('error', failed).on('error', ignored).destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', aborted);
  }
}

/** A socket that is not connected yet. One with options that Node does not have is made by hand; Node's connect takes it as it is. */
function newSocket(destination: Endpoint, { foreignSource = false, mark }: DialOptions): Socket {
  if (!foreignSource && mark === undefined) return new Socket({ allowHalfOpen: true });
  let fd: number | undefined;
  try {
    fd = openSocket(isIPv6(destination.address) ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    if (foreignSource) setSocketOption(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
    if (mark !== undefined) setSocketOption(fd, SOL_SOCKET, SO_MARK, mark);
    return new Socket({ fd, allowHalfOpen: true });
  } catch (error) {
    if (fd !== undefined) closeDescriptor(fd);
    throw new DialError(dialErrorClass(error), `${formatEndpoint(destination)}: ${messageOf(error)}`, { cause: error });
  }
}

function ignored(): void {}
