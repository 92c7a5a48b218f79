import { isIPv4, type Socket } from 'node:net';
import { repeatEnd } from '../claims/flow-router.ts';
import { DialError, dialTcp, type DialOptions } from '../forwarder/dial.ts';
import { spliceSockets } from '../forwarder/splice.ts';
import type { Flow } from '../interceptor/types.ts';
import { messageOf, systemCode } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import { hasTcpConnection } from '../platform/socket-diagnostics.ts';
import type { Endpoint } from '../tunnel/types.ts';

/**
 * Where the sidecar dials the app from in redirect mode, as istio does: it tells the sidecar's connections from all others, and lets an
 * app see that a caller is not in the pod itself (127.0.0.1 would). IPv6 has one address of loopback only: there, as in tproxy mode,
 * the app sees the pod's own address.
 */
const REDIRECT_SOURCE = '127.0.0.6';

const FIRST_CALLER_PORT = 10_000;
/** net.ipv4.ip_local_port_range begins here by default. */
const FIRST_EPHEMERAL_PORT = 32_768;
const ATTEMPTS = 16;

/** An app that does not answer at all keeps its caller waiting, as it would without us: the kernel gives up after about 130 s. */
const DIAL_TIMEOUT_MILLISECONDS = 120_000;

/** How flows that pass through are dialled. */
export interface PassThroughOptions {
  /** What the app, or the destination of the pod's own call, sees as its caller. */
  readonly source: 'distinctive' | 'own' | 'caller';
  /** SO_MARK for the sidecar's own connections. */
  readonly mark?: number;
  /** Told of every socket that is dialled, before it connects. */
  readonly onSocket?: (socket: Socket) => void;
  readonly log: Logger;
}

/**
 * Takes a flow to the address that its caller wanted: the app, or what the pod calls. That answers it as it would without us: a refused
 * connection is a reset of the caller. Resolves when the flow has ended; never rejects.
 */
export async function passThrough(flow: Flow, options: PassThroughOptions): Promise<void> {
  const { socket, destination } = flow;
  const abandoned = new AbortController();
  function left(): void {
    abandoned.abort(new Error('the caller is gone'));
  }
  socket.on('error', ignored).once('close', left);
  let app: Socket;
  try {
    app = await dialOnwards(flow, options, abandoned.signal);
  } catch (error) {
    const expected = abandoned.signal.aborted || (error instanceof DialError && error.errorClass === 'refused');
    if (!expected) options.log.warn({ destination, reason: messageOf(error) }, 'the destination of a flow could not be reached');
    socket.resetAndDestroy();
    return;
  } finally {
    socket.off('close', left);
  }
  const spliced = spliceSockets(socket, app);
  repeatEnd(socket);
  await spliced;
}

async function dialOnwards({ destination, source }: Flow, options: PassThroughOptions, signal: AbortSignal): Promise<Socket> {
  const { mark, onSocket } = options;
  const dialOptions: DialOptions = {
    timeoutMilliseconds: DIAL_TIMEOUT_MILLISECONDS,
    signal,
    ...(mark === undefined ? {} : { mark }),
    ...(onSocket === undefined ? {} : { onSocket }),
  };
  if (options.source === 'caller') return dialAsCaller(destination, source.address, dialOptions);
  if (options.source === 'own' || !isIPv4(destination.address)) return dialTcp(destination, dialOptions);
  try {
    return await dialTcp(destination, { ...dialOptions, localAddress: REDIRECT_SOURCE });
  } catch (error) {
    // All ports of that one source address are in use: any other address will do.
    const code = error instanceof DialError ? systemCode(error.cause) : undefined;
    if (code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL') return dialTcp(destination, dialOptions);
    throw error;
  }
}

/**
 * From the caller's address, and a port that is not in use between it and the destination: by the kernel's own choice it might be that of
 * another connection of the same caller, which the kernel does not see as one of this machine's, and the handshake would break that one.
 * Below 32768 few callers have theirs.
 */
async function dialAsCaller(destination: Endpoint, address: string, options: DialOptions): Promise<Socket> {
  for (let attempt = 1; ; attempt += 1) {
    const localPort = FIRST_CALLER_PORT + Math.floor(Math.random() * (FIRST_EPHEMERAL_PORT - FIRST_CALLER_PORT));
    if (attempt < ATTEMPTS && isInUse(destination, { address, port: localPort })) continue;
    try {
      return await dialTcp(destination, { ...options, localAddress: address, localPort, foreignSource: true });
    } catch (error) {
      const code = error instanceof DialError ? systemCode(error.cause) : undefined;
      if (attempt >= ATTEMPTS || (code !== 'EADDRINUSE' && code !== 'EADDRNOTAVAIL')) throw error;
    }
  }
}

function isInUse(destination: Endpoint, source: Endpoint): boolean {
  try {
    return hasTcpConnection(destination, source);
  } catch {
    // The kernel does not tell of its connections (no tcp_diag). bind(2) and connect(2) refuse most of those that are.
    return false;
  }
}

function ignored(): void {}
