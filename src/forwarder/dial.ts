import { connect, type Socket } from 'node:net';
import type { AbortOptions } from '../platform/abort.ts';
import { messageOf, systemCode } from '../platform/errors.ts';
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
  const { signal, timeoutMilliseconds = DEFAULT_TIMEOUT_MILLISECONDS, localAddress } = options;
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const name = formatEndpoint(destination);
  const socket = connect({
    host: destination.address,
    port: destination.port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MILLISECONDS,
    ...(localAddress === undefined ? {} : { localAddress }),
  });
  // Before it is connected, so that Node does not read ahead.
  socket.pause();
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

function ignored(): void {}
