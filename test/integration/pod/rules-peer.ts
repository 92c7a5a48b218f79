import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import { messageOf, systemCode } from '../../../src/platform/errors.ts';
import {
  AF_INET,
  AF_INET6,
  IP_TRANSPARENT,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_TRANSPARENT,
  SO_MARK,
  SOCK_STREAM,
  SOL_SOCKET,
  descriptorOf,
  openSocket,
  setSocketOption,
} from '../../../src/platform/libc.ts';

/** One who serves and calls in a network namespace: as the app, as the sidecar, or as somebody outside the pod. */
export type PeerRequest = { readonly id: number } & (
  | ({ readonly kind: 'serve'; readonly name: string } & PeerEnd)
  | ({ readonly kind: 'call'; readonly from?: string; readonly fromPort?: number; readonly bytes?: number } & PeerEnd)
  | { readonly kind: 'close'; readonly port: number }
);

export interface PeerEnd {
  readonly protocol: 'tcp' | 'udp';
  readonly host: string;
  readonly port: number;
  /** IP_TRANSPARENT. */
  readonly transparent?: boolean;
  /** SO_MARK. */
  readonly mark?: number;
}

/** What a server says of itself and of its caller; a datagram of more than 1,000 bytes comes back instead. */
export interface Seen {
  readonly name: string;
  readonly from: string;
  /** The address and port that the caller asked for, as the server's socket has them; TCP only. */
  readonly to?: string;
}

export interface PeerAnswer {
  readonly id: number;
  readonly error?: string;
  readonly reply?: string;
}

const open = new Map<number, () => void>();

function setOptions(fd: number, host: string, { transparent, mark }: Pick<PeerEnd, 'transparent' | 'mark'>): void {
  if (mark !== undefined) setSocketOption(fd, SOL_SOCKET, SO_MARK, mark);
  if (transparent !== true) return;
  if (host.includes(':')) setSocketOption(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
  // A dual-stack socket takes both families' packets.
  if (!host.includes(':') || host === '::') setSocketOption(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

function descriptor(owner: Parameters<typeof descriptorOf>[0]): number {
  const fd = descriptorOf(owner);
  if (fd === undefined) throw new Error('the socket has no descriptor');
  return fd;
}

const plain = (address: string | undefined): string => (address ?? '?').replace('::ffff:', '');

async function serve({ protocol, host, port, name, ...options }: Extract<PeerRequest, { kind: 'serve' }>): Promise<void> {
  if (protocol === 'tcp') {
    const server = createServer((socket) => {
      const seen: Seen = { name, from: plain(socket.remoteAddress), to: `${plain(socket.localAddress)} ${socket.localPort}` };
      socket.on('error', () => undefined).end(JSON.stringify(seen));
      socket.resume();
    });
    server.listen({ host, port });
    await once(server, 'listening');
    setOptions(descriptor(server), host, options);
    open.set(port, () => server.close());
    return;
  }
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' });
  socket.on('message', (message: Buffer, { address, port: callersPort }: RemoteInfo) => {
    const seen: Seen = { name, from: plain(address) };
    socket.send(message.length > 1000 ? message : JSON.stringify(seen), callersPort, address);
  });
  socket.bind(port, host);
  await once(socket, 'listening');
  setOptions(descriptor(socket), host, options);
  open.set(port, () => socket.close());
}

async function call({ protocol, host, port, from, fromPort, bytes, ...options }: Extract<PeerRequest, { kind: 'call' }>): Promise<string> {
  if (protocol === 'tcp') {
    const fd = openSocket(host.includes(':') ? AF_INET6 : AF_INET, SOCK_STREAM);
    setOptions(fd, host, options);
    const socket = new Socket({ fd });
    let reply = '';
    socket.on('data', (chunk: Buffer) => (reply += chunk.toString()));
    const ended = once(socket, 'close');
    socket.connect({
      host,
      port,
      ...(from === undefined ? {} : { localAddress: from }),
      ...(fromPort === undefined ? {} : { localPort: fromPort }),
    });
    await ended;
    return reply;
  }
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' });
  try {
    socket.bind(fromPort ?? 0, from);
    await once(socket, 'listening');
    setOptions(descriptor(socket), host, options);
    // Connected: an answer from another address or port than the one that was asked would not arrive.
    socket.connect(port, host);
    await once(socket, 'connect');
    const answered: Promise<unknown[]> = once(socket, 'message');
    const sent = Buffer.alloc(bytes ?? 1, 'kpeering');
    socket.send(sent);
    const [message] = await answered;
    if (!Buffer.isBuffer(message)) throw new Error('a message is a buffer');
    if (bytes === undefined) return message.toString();
    return message.equals(sent) ? `${bytes} bytes came back` : `${message.length} bytes came back, or others`;
  } finally {
    socket.close();
  }
}

async function obey(request: PeerRequest): Promise<string> {
  if (request.kind === 'serve') await serve(request);
  else if (request.kind === 'call') return call(request);
  else open.get(request.port)?.();
  return '';
}

process.on('message', (request: PeerRequest) => {
  const { id } = request;
  obey(request).then(
    (reply) => process.send?.({ id, reply } satisfies PeerAnswer),
    (error: unknown) => process.send?.({ id, error: systemCode(error) ?? messageOf(error) } satisfies PeerAnswer),
  );
});
process.on('disconnect', () => process.exit());
