import { isIPv4, isIPv6, type Socket } from 'node:net';
import { request } from '../platform/http.ts';
import { Failure } from '../platform/errors.ts';

/** What a connection goes to, by way of a proxy. */
export interface Destination {
  readonly host: string;
  readonly port: number;
}

/** The proxies that kubectl takes as `proxy-url`. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443, 'socks5:': 1080, 'socks5h:': 1080 };

/** Reads a `proxy-url`. Failure KUBECONFIG_INVALID for one that is no URL or of a scheme that is not known. */
export function parseProxyUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || DEFAULT_PORTS[url.protocol] === undefined) {
    throw new Failure('KUBECONFIG_INVALID', `the proxy-url "${text}" is not understood`, {
      remedy: 'write it as http://, https:// or socks5://host:port',
    });
  }
  return url;
}

/** Where the proxy itself listens. */
export function proxyAddress(proxy: URL): Destination {
  return { host: hostOf(proxy), port: proxy.port === '' ? (DEFAULT_PORTS[proxy.protocol] ?? 80) : Number(proxy.port) };
}

/** A URL's host without the brackets of an IPv6 address. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** A proxy refused, or said what cannot be understood. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';
}

/**
 * Asks the proxy at the other end of `socket` for a connection to `destination`: HTTP CONNECT (RFC 9110 section
 * 9.3.6) or SOCKS5 (RFC 1928, with the user name and password of RFC 1929). Rejects with ProxyError; the
 * socket is the caller's to destroy, also when the caller gives up waiting.
 */
export async function throughProxy(socket: Socket, proxy: URL, destination: Destination): Promise<Socket> {
  if (proxy.protocol.startsWith('socks5')) await socks5(socket, proxy, destination);
  else await httpConnect(socket, proxy, destination);
  return socket;
}

function userOf(proxy: URL): { readonly user: string; readonly password: string } | undefined {
  if (proxy.username === '') return undefined;
  return { user: decodeURIComponent(proxy.username), password: decodeURIComponent(proxy.password) };
}

async function httpConnect(socket: Socket, proxy: URL, { host, port }: Destination): Promise<void> {
  const authority = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const user = userOf(proxy);
  await new Promise<void>((resolve, reject) => {
    const connect = request({
      createConnection: () => socket,
      method: 'CONNECT',
      path: authority,
      headers: {
        host: authority,
        ...(user !== undefined && { 'proxy-authorization': `Basic ${Buffer.from(`${user.user}:${user.password}`).toString('base64')}` }),
      },
    });
    connect.on('error', reject);
    connect.on('connect', (response, _socket, head: Buffer) => {
      if (response.statusCode === 200) {
        // A server in the far end's place may speak first; TLS and HTTP servers do not.
        if (head.length > 0) socket.unshift(head);
        resolve();
      } else {
        reject(new ProxyError(`it answered ${response.statusCode} ${response.statusMessage} to CONNECT ${authority}`));
      }
    });
    connect.end();
  });
}

const SOCKS_ERRORS = [
  '',
  'general failure',
  'not allowed by its rules',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'TTL expired',
  'command not supported',
  'address type not supported',
];

async function socks5(socket: Socket, proxy: URL, { host, port }: Destination): Promise<void> {
  const user = userOf(proxy);
  const read = byteReader(socket);
  try {
    socket.write(Buffer.from(user === undefined ? [5, 1, 0] : [5, 2, 0, 2]));
    const [version, method] = await read.bytes(2);
    if (version !== 5) throw new ProxyError('it does not speak SOCKS5');
    if (method === 2 && user !== undefined) {
      socket.write(Buffer.concat([Buffer.from([1]), shortText(user.user), shortText(user.password)]));
      if ((await read.bytes(2))[1] !== 0) throw new ProxyError('it refused the user name and password');
    } else if (method !== 0) {
      throw new ProxyError('it wants an authentication that the proxy-url does not give');
    }
    // Names are resolved by the proxy, as Go does for socks5 and socks5h alike.
    const address = isIPv4(host) ? Buffer.from([1, ...host.split('.').map(Number)]) : Buffer.concat([Buffer.from([3]), shortText(host)]);
    const portBytes = Buffer.alloc(2);
    portBytes.writeUInt16BE(port);
    socket.write(Buffer.concat([Buffer.from([5, 1, 0]), address, portBytes]));
    const [, reply, , kind] = await read.bytes(4);
    if (reply !== 0) throw new ProxyError(`SOCKS5: ${SOCKS_ERRORS[reply ?? 1] ?? `error ${reply}`}`);
    const length = kind === 1 ? 4 : kind === 4 ? 16 : ((await read.bytes(1))[0] ?? 0);
    await read.bytes(length + 2);
  } finally {
    read.release();
  }
}

function shortText(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > 255) throw new ProxyError('a name is too long for SOCKS5');
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

/**
 * Reads exact numbers of bytes from a socket, by `read(n)`: what follows stays in the socket, and unlike after
 * `pause()` its next owner finds it as if it were new.
 */
function byteReader(socket: Socket): { bytes(count: number): Promise<Buffer>; release(): void } {
  let wanted: { readonly count: number; resolve(bytes: Buffer): void; reject(error: Error): void } | undefined;
  const serve = (): void => {
    if (wanted === undefined) return;
    const bytes: unknown = socket.read(wanted.count);
    if (!(bytes instanceof Buffer)) return;
    const served = wanted;
    wanted = undefined;
    // At the end `read` hands out what is left, however little.
    if (bytes.length === served.count) served.resolve(bytes);
    else served.reject(new ProxyError('it closed the connection'));
  };
  const fail = (error?: Error): void => wanted?.reject(error ?? new ProxyError('it closed the connection'));
  const onEnd = (): void => fail();
  socket.on('readable', serve).on('error', fail).on('close', onEnd).on('end', onEnd);
  return {
    bytes: async (count) =>
      await new Promise<Buffer>((resolve, reject) => {
        wanted = { count, resolve, reject };
        serve();
      }),
    release: () => {
      socket.off('readable', serve).off('error', fail).off('close', onEnd).off('end', onEnd);
    },
  };
}
