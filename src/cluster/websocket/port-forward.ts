import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { ApiClient, Handshake } from '../api-client.ts';
import { pods } from '../pods.ts';
import { NotSpokenError, portForwardFailure } from '../port-forward-failures.ts';
import { openPortForward } from '../port-forward-opening.ts';
import { resourcePath } from '../resource.ts';
import type { PodPort } from '../types.ts';
import { CHANNEL_PROTOCOL, ChannelConnection, type Channel } from './channels.ts';

/** A port has two channels (kubelet, pkg/kubelet/portforward/websocket.go). */
const DATA = 0;
const ERRORS = 1;
/** The first message of each channel is the port, as 16 bits, the low byte first. */
const PORT_LENGTH = 2;
/** The kubelet's text about a port that cannot be reached is a line or two. */
const MAX_ERROR_TEXT = 16 * 1024;
/** The kubelet's messages are of 32 KiB. */
const MAX_MESSAGE = 16 * 1024 * 1024;

/**
 * The same as over SPDY (`spdyPortForward`), over a WebSocket with the subprotocol v4.channel.k8s.io: `get` and, as newer API servers ask,
 * `create` on pods/portforward. It knows no half-close. A Failure whose cause is a {@link NotSpokenError}: the upgrade was not agreed to as it must be, or
 * the channels did not come.
 */
export async function webSocketPortForward(client: ApiClient, target: PodPort, options: AbortOptions = {}): Promise<Duplex> {
  const socket = await upgrade(client, target, options);
  const connection = new ChannelConnection(socket, 2);
  const destroy = (error?: Error): void => connection.destroy(error);
  const opening = { target, destroy, silence: 'the server opened the WebSocket, and is silent', ...options };
  return await openPortForward(opening, async () => await openChannels(connection, target));
}

async function upgrade(client: ApiClient, target: PodPort, options: AbortOptions): Promise<WebSocket> {
  const intent = { verb: 'get', resource: 'pods/portforward', namespace: target.namespace, name: target.pod };
  const path = `${resourcePath(pods, target.namespace, target.pod)}/portforward?ports=${target.port}`;
  try {
    return await client.upgradeBy(
      { method: 'GET', path, headers: { accept: '*/*' }, intent, ...options },
      async (handshake) => await open(handshake, target),
    );
  } catch (error) {
    // Kubernetes 1.35 asks for "create" after it has found "get", and then gives no reason.
    if (error instanceof Failure && error.code === 'API_FORBIDDEN' && / is forbidden:\s*$/.test(error.message)) {
      throw new Failure(
        error.code,
        `${error.message.trim()} a WebSocket needs the right to create pods/portforward beside that to get it`,
        {
          remedy: `ask for the right to create pods/portforward in namespace ${target.namespace}`,
          cause: error.cause,
        },
      );
    }
    throw error;
  }
}

/** Resolves with the open WebSocket, paused: nothing is read before somebody listens. Or with the answer that refused it. */
async function open({ url, secure, headers, agent, signal }: Handshake, target: PodPort): Promise<WebSocket | IncomingMessage> {
  // Some 15 ms, which only those pay who need it.
  const { WebSocket: Client } = await import('ws');
  signal.throwIfAborted();
  const socket = new Client(url, CHANNEL_PROTOCOL, {
    agent,
    perMessageDeflate: false,
    skipUTF8Validation: true,
    maxPayload: MAX_MESSAGE,
    // Masks are against programs in a browser that aim at a proxy which does not know WebSockets (RFC 6455 section 10.3). Under TLS no such
    // proxy sees the bytes; with a mask of zeros they stay as they are, and framing takes an eighth of the time.
    ...(secure && { generateMask: (mask: Buffer) => void mask.fill(0) }),
    finishRequest: (request: ClientRequest) => {
      for (const [name, value] of Object.entries(headers)) if (value !== undefined) request.setHeader(name, value);
      request.end();
    },
  });
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket | IncomingMessage>();
  const onAbort = (): void => socket.terminate();
  signal.addEventListener('abort', onAbort, { once: true });
  let upgraded = false;
  socket.once('upgrade', () => (upgraded = true));
  socket.once('unexpected-response', (_request, response) => resolve(response));
  const onError = (error: Error): void => {
    if (signal.aborted) reject(signal.reason instanceof Error ? signal.reason : error);
    // the upgrade of something else, or with a wrong answer to the key
    else reject(upgraded ? portForwardFailure(target, error.message, new NotSpokenError(error.message, { cause: error })) : error);
  };
  socket.on('error', onError);
  socket.once('open', () => {
    socket.pause();
    resolve(socket);
  });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function openChannels(connection: ChannelConnection, target: PodPort): Promise<Channel> {
  const [data, errors] = [connection.channels[DATA], connection.channels[ERRORS]];
  if (data === undefined || errors === undefined) throw new Error('two channels were asked for');
  // Until it is handed out; from then on its errors are its owner's.
  const early = (): void => {};
  data.on('error', early);
  errors.on('error', early);
  connection.start();
  await Promise.all([portOf(data, target), portOf(errors, target)]);

  let text = '';
  errors.setEncoding('utf8');
  errors.on('data', (chunk: string) => {
    text = (text + chunk).slice(0, MAX_ERROR_TEXT);
  });
  errors.on('end', () => {
    if (text !== '') data.destroy(portForwardFailure(target, text.trim()));
  });
  data.off('error', early);
  return data;
}

/** Takes the port off the beginning of a channel. */
async function portOf(channel: Channel, target: PodPort): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const read = (): void => {
    const bytes: unknown = channel.read(PORT_LENGTH);
    if (Buffer.isBuffer(bytes) && bytes.length === PORT_LENGTH) resolve(bytes);
    else if (bytes !== null) reject(new Error('the connection ended before it had begun'));
  };
  const onEnd = (): void => reject(channel.errored ?? new Error('the connection was closed before it had begun'));
  channel.on('readable', read).on('end', onEnd).on('close', onEnd);
  try {
    read();
    const port = (await promise).readUInt16LE();
    if (port !== target.port) throw new Error(`the server forwards to port ${port} instead of ${target.port}`);
  } finally {
    channel.off('readable', read).off('end', onEnd).off('close', onEnd);
  }
}
