import { isIPv4, type Socket } from 'node:net';
import { repeatEnd } from '../claims/flow-router.ts';
import { DialError, dialTcp } from '../forwarder/dial.ts';
import { spliceSockets } from '../forwarder/splice.ts';
import type { Flow } from '../interceptor/types.ts';
import { systemCode } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';

/**
 * Where the sidecar dials the app from, as istio does: it tells the sidecar's connections from all others, and lets an
 * app see that a caller is not in the pod itself (127.0.0.1 would).
 */
const SOURCE = '127.0.0.6';

/** An app that does not answer at all keeps its caller waiting, as it would without us: the kernel gives up after about 130 s. */
const DIAL_TIMEOUT_MILLISECONDS = 120_000;

/**
 * Takes a flow to the app, at the address that its caller wanted. The app answers it as it would without us: a refused
 * connection is a reset of the caller. Resolves when the flow has ended; never rejects.
 */
export async function passThrough(flow: Flow, log: Logger): Promise<void> {
  const { socket, destination } = flow;
  const abandoned = new AbortController();
  function left(): void {
    abandoned.abort(new Error('the caller is gone'));
  }
  socket.on('error', ignored).once('close', left);
  let app: Socket;
  try {
    app = await dialApp(flow, abandoned.signal);
  } catch (error) {
    if (error instanceof DialError && error.errorClass !== 'refused')
      log.warn({ destination, reason: error.message }, 'the app could not be reached');
    socket.resetAndDestroy();
    return;
  } finally {
    socket.off('close', left);
  }
  const spliced = spliceSockets(socket, app);
  repeatEnd(socket);
  await spliced;
}

async function dialApp({ destination }: Flow, signal: AbortSignal): Promise<Socket> {
  const options = { timeoutMilliseconds: DIAL_TIMEOUT_MILLISECONDS, signal };
  if (!isIPv4(destination.address)) return dialTcp(destination, options);
  try {
    return await dialTcp(destination, { ...options, localAddress: SOURCE });
  } catch (error) {
    // All ports of that one source address are in use: any other address will do.
    const code = error instanceof DialError ? systemCode(error.cause) : undefined;
    if (code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL') return dialTcp(destination, options);
    throw error;
  }
}

function ignored(): void {}
