import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ExecutionContext } from 'ava';
import { WebSocketServer } from 'ws';
import { SpdyConnection } from '../../../src/cluster/spdy/connection.ts';
import { CHANNEL_PROTOCOL, ChannelConnection } from '../../../src/cluster/websocket/channels.ts';
import type { ConnectOptions } from '../../../src/cluster/connect.ts';
import type { Cluster } from '../../../src/cluster/types.ts';
import { clusterOf, json, startApi } from './api.ts';
import { base64, makeCertificates } from './certificates.ts';

const certificates = makeCertificates();

/** What comes of one port-forward, as the kubelet has it: the data, and what it says of errors. */
export type Serve = (data: Duplex, errors: Duplex, socket: Duplex) => void;

/** What stands in front of the API server: true when it has dealt with an upgrade, so that the server never sees it. */
export type Gateway = (request: IncomingMessage, socket: Duplex) => boolean;

export interface PortForwardApi {
  readonly cluster: Cluster;
  /** The upgrades that were asked for, in their order: also those that the gateway refused. */
  readonly requests: readonly IncomingMessage[];
}

export const SWITCH_TO_SPDY =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n';

/** An API server under a prefix, by TLS, whose port-forwards (SPDY and WebSocket) are handled by `serve`. */
export async function startPortForwardApi(
  t: ExecutionContext,
  serve: Serve,
  options: ConnectOptions & { readonly gateway?: Gateway } = {},
): Promise<PortForwardApi> {
  const { gateway, ...connect } = options;
  const requests: IncomingMessage[] = [];
  const api = await startApi(t, (_request, response) => json(response, {}, 404), { ...certificates.server });
  const webSockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => offered.has(CHANNEL_PROTOCOL) && CHANNEL_PROTOCOL,
  });
  api.server.on('upgrade', (request, socket, head: Buffer) => {
    requests.push(request);
    socket.on('error', () => {});
    if (gateway?.(request, socket) === true) {
      socket.resume(); // or its end is never seen
      return;
    }
    if (request.headers.upgrade?.toLowerCase() === 'websocket') overWebSocket(webSockets, request, socket, head, serve);
    else overSpdy(t, socket, head, serve);
  });
  const cluster = await clusterOf(
    t,
    { server: `${api.url}/prefix`, 'certificate-authority-data': base64(certificates.ca) },
    { token: 'x', as: 'bob' },
    connect,
  );
  return { cluster, requests };
}

function overSpdy(t: ExecutionContext, socket: Duplex, head: Buffer, serve: Serve): void {
  socket.write(SWITCH_TO_SPDY);
  let errors: Duplex | undefined;
  const connection = new SpdyConnection(socket, {
    role: 'server',
    head,
    onStream: (stream) => {
      stream.on('error', () => {});
      connection.reply(stream);
      if (stream.headers['streamtype'] === 'error') errors = stream;
      else if (errors !== undefined) serve(stream, errors, socket);
    },
  });
  t.teardown(() => connection.destroy());
}

function overWebSocket(server: WebSocketServer, request: IncomingMessage, socket: Duplex, head: Buffer, serve: Serve): void {
  server.handleUpgrade(request, socket, head, (opened) => {
    const connection = new ChannelConnection(opened, 2);
    const [data, errors] = connection.channels;
    if (data === undefined || errors === undefined) throw new Error('two channels were asked for');
    const port = Buffer.alloc(2);
    port.writeUInt16LE(Number(new URL(request.url ?? '', 'http://api').searchParams.get('ports')));
    for (const channel of [data, errors]) {
      channel.on('error', () => {});
      channel.write(port);
    }
    serve(data, errors, socket);
    connection.start();
  });
}
