import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Failure, messageOf } from '../platform/errors.ts';
import type { AbortOptions } from '../platform/abort.ts';
import type { ApiClient } from './api-client.ts';
import { pods } from './pods.ts';
import { resourcePath } from './resource.ts';
import { SpdyConnection } from './spdy/connection.ts';
import type { SpdyStream } from './spdy/stream.ts';
import type { PodPort } from './types.ts';

/** Negotiated in `X-Stream-Protocol-Version` (k8s.io/apimachinery, portforward.PortForwardProtocolV1Name). */
export const PORT_FORWARD_PROTOCOL = 'portforward.k8s.io';

/** The kubelet's text about a port that cannot be reached is a line or two. */
const MAX_ERROR_TEXT = 16 * 1024;

/**
 * One TCP connection to a port on a pod's loopback, by the subresource pods/portforward over SPDY/3.1, on a connection of its
 * own to the API server. The answer is the data stream; it has no positive sign that the port was reached, so
 * that nothing listens there is heard as an error of the duplex (Failure PORT_FORWARD_FAILED with the kubelet's
 * text). Destroying the duplex closes the connection. Failures of the request are those of every other request;
 * 403 names `create` on pods/portforward.
 */
export async function portForward(client: ApiClient, target: PodPort, options: AbortOptions = {}): Promise<Duplex> {
  const { socket, head, response } = await client.upgrade({
    method: 'POST',
    path: `${resourcePath(pods, target.namespace, target.pod)}/portforward`,
    headers: {
      accept: '*/*',
      connection: 'Upgrade',
      upgrade: 'SPDY/3.1',
      'x-stream-protocol-version': PORT_FORWARD_PROTOCOL,
      'content-length': 0,
    },
    intent: { verb: 'create', resource: 'pods/portforward', namespace: target.namespace, name: target.pod },
    ...options,
  });
  const protocol = response.headers['x-stream-protocol-version'];
  if (response.headers.upgrade?.toLowerCase() !== 'spdy/3.1' || (protocol !== undefined && protocol !== PORT_FORWARD_PROTOCOL)) {
    socket.on('error', () => {});
    socket.destroy();
    throw failure(target, `the server agreed to ${response.headers.upgrade} and ${String(protocol)} instead of SPDY/3.1`);
  }
  if (socket instanceof Socket) socket.setTimeout(0);
  const connection = new SpdyConnection(socket, { role: 'client', head });
  const onAbort = (): void => connection.destroy(abortError(options.signal));
  options.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    options.signal?.throwIfAborted();
    return await openStreams(connection, target);
  } catch (error) {
    connection.destroy();
    if (options.signal?.aborted === true) throw options.signal.reason;
    throw error instanceof Failure ? error : failure(target, messageOf(error), error);
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
  }
}

function abortError(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error ? signal.reason : new Error('aborted');
}

/** The error stream first, ended by us at once, then the data stream (k8s.io/client-go, tools/portforward). */
async function openStreams(connection: SpdyConnection, target: PodPort): Promise<SpdyStream> {
  const headers = { port: String(target.port), requestid: '0' };
  const errors = connection.openStream({ streamtype: 'error', ...headers });
  errors.on('error', () => {});
  errors.end();
  const data = connection.openStream({ streamtype: 'data', ...headers });
  // Until it is handed out; from then on its errors are its owner's.
  const early = (): void => {};
  data.on('error', early);
  // The connection ends after this turn, so that the stream's own RST_STREAM still goes out.
  data.on('close', () => void connection.close());

  let text = '';
  const report = (): void => {
    if (text !== '') data.destroy(failure(target, text.trim()));
  };
  errors.setEncoding('utf8');
  errors.on('data', (chunk: string) => {
    text = (text + chunk).slice(0, MAX_ERROR_TEXT);
  });
  errors.on('end', report);
  errors.on('close', report);
  await Promise.all([errors.accepted, data.accepted]);
  // The kubelet may have been as quick to say that nobody listens.
  if (data.destroyed) throw data.errored ?? failure(target, text.trim() || 'the connection was closed');
  data.off('error', early);
  return data;
}

function failure(target: PodPort, text: string, cause?: unknown): Failure {
  const refused = /connection refused/i.test(text);
  // containerd puts the network namespace's path and the sandbox's id before what happened.
  const happened = text.replace(/^.*inside namespace "[^"]*",? ?/s, '');
  return new Failure('PORT_FORWARD_FAILED', `the port-forward to ${target.namespace}/${target.pod}:${target.port} failed: ${happened}`, {
    ...(refused && { likely: 'nothing listens on that port of the pod' }),
    ...(cause !== undefined && { cause }),
  });
}
