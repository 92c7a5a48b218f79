import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { AbortOptions } from '../../platform/abort.ts';
import type { ApiClient } from '../api-client.ts';
import { pods } from '../pods.ts';
import { NotSpokenError, portForwardFailure } from '../port-forward-failures.ts';
import { openPortForward } from '../port-forward-opening.ts';
import { resourcePath } from '../resource.ts';
import type { PodPort } from '../types.ts';
import { SpdyConnection } from './connection.ts';
import type { SpdyStream } from './stream.ts';

/** Negotiated in `X-Stream-Protocol-Version` (k8s.io/apimachinery, portforward.PortForwardProtocolV1Name). */
const PORT_FORWARD_PROTOCOL = 'portforward.k8s.io';
/** The kubelet's text about a port that cannot be reached is a line or two. */
const MAX_ERROR_TEXT = 16 * 1024;

/**
 * A port-forward over SPDY/3.1, on a connection of its own to the API server: `create` on pods/portforward. The answer is the data stream;
 * there is no positive sign that the port was reached, so that nothing listens there is heard as an error of the duplex (Failure
 * PORT_FORWARD_FAILED with the kubelet's text). Destroying the duplex closes the connection. A Failure whose cause is a {@link NotSpokenError}: the
 * upgrade was agreed to, and then it was not SPDY.
 */
export async function spdyPortForward(client: ApiClient, target: PodPort, options: AbortOptions = {}): Promise<Duplex> {
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
    const agreed = `the server agreed to ${response.headers.upgrade} and ${String(protocol)} instead of SPDY/3.1`;
    throw portForwardFailure(target, agreed, new NotSpokenError(agreed));
  }
  if (socket instanceof Socket) socket.setTimeout(0);
  const connection = new SpdyConnection(socket, { role: 'client', head });
  const destroy = (error?: Error): void => connection.destroy(error);
  const opening = { target, destroy, silence: 'the server does not answer in SPDY', ...options };
  return await openPortForward(opening, async () => await openStreams(connection, target));
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
    if (text !== '') data.destroy(portForwardFailure(target, text.trim()));
  };
  errors.setEncoding('utf8');
  errors.on('data', (chunk: string) => {
    text = (text + chunk).slice(0, MAX_ERROR_TEXT);
  });
  errors.on('end', report);
  errors.on('close', report);
  await Promise.all([errors.accepted, data.accepted]);
  // The kubelet may have been as quick to say that nobody listens.
  if (data.destroyed) throw data.errored ?? portForwardFailure(target, text.trim() || 'the connection was closed');
  data.off('error', early);
  return data;
}
