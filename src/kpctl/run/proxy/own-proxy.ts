import type { Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls } from 'node:tls';
import { proxyFromEnvironment } from '../../../cluster/proxy-environment.ts';
import { hostOf, parseProxyUrl, proxyAddress, throughProxy } from '../../../cluster/proxy.ts';
import { DialError, dialTcp } from '../../../forwarder/index.ts';
import type { AbortOptions } from '../../../platform/abort.ts';
import { messageOf } from '../../../platform/errors.ts';

/** The proxy that this machine's own environment names for a destination outside of the cluster; undefined: it is dialled directly. */
export function ownProxyFor(scheme: 'http' | 'https', host: string, port: number, environment: NodeJS.ProcessEnv): URL | undefined {
  const server = `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
  if (!URL.canParse(server)) return undefined;
  const proxy = proxyFromEnvironment(new URL(server), environment);
  return proxy === undefined ? undefined : parseProxyUrl(proxy);
}

/** A connection to the proxy itself, with TLS where its URL says https. Rejects with DialError. */
export async function dialProxy(proxy: URL, options: AbortOptions = {}): Promise<Socket> {
  const { host, port } = proxyAddress(proxy);
  const socket = await dialTcp({ address: host, port }, options);
  if (proxy.protocol !== 'https:') return socket;
  const name = hostOf(proxy);
  const tls = connectTls({ socket, servername: name, checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate) });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  tls.once('error', reject).once('secureConnect', resolve);
  try {
    await promise;
    tls.off('error', reject);
    return tls;
  } catch (error) {
    tls.on('error', ignored).destroy();
    throw new DialError('failed', `the proxy ${proxy.host}: ${messageOf(error)}`, { cause: error });
  }
}

/** A connection to a destination by way of the proxy, which resolves the name. Rejects with DialError. */
export async function dialByProxy(proxy: URL, host: string, port: number, options: AbortOptions = {}): Promise<Socket> {
  const socket = await dialProxy(proxy, options);
  socket.on('error', ignored);
  const abort = (): void => void socket.destroy();
  options.signal?.addEventListener('abort', abort, { once: true });
  try {
    // Dialled paused; Node's client, which asks an HTTP proxy, wants to be given what comes.
    if (!proxy.protocol.startsWith('socks')) socket.resume();
    await throughProxy(socket, proxy, { host, port });
    return socket.pause();
  } catch (error) {
    socket.destroy();
    options.signal?.throwIfAborted();
    throw new DialError('failed', `the proxy ${proxy.host}: ${messageOf(error)}`, { cause: error });
  } finally {
    options.signal?.removeEventListener('abort', abort);
    socket.off('error', ignored);
  }
}

/** What of an `http:` request the proxy is to be told to know its user; undefined where its URL names none. */
export function proxyAuthorization(proxy: URL): string | undefined {
  if (proxy.username === '') return undefined;
  return `Basic ${Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`).toString('base64')}`;
}

/** The socket's next owner listens. */
function ignored(): void {}
