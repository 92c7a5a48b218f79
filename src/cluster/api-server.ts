import { connect as connectTcp, isIP, type Socket } from 'node:net';
import {
  checkServerIdentity,
  connect as connectTls,
  getCACertificates,
  rootCertificates,
  type ConnectionOptions,
  type TLSSocket,
} from 'node:tls';
import { deadline, type AbortOptions } from '../platform/abort.ts';
import { Failure } from '../platform/errors.ts';
import type { ClientCertificate } from './credential.ts';
import type { ContextSettings } from './kubeconfig-schema.ts';
import { pem } from './pem.ts';
import { proxyFromEnvironment } from './proxy-environment.ts';
import { rememberedLookup } from './remembered-lookup.ts';
import { hostOf, parseProxyUrl, proxyAddress, throughProxy, type Destination } from './proxy.ts';

/** How long the TCP connection, the proxy's answer and the TLS handshake may take together. */
const CONNECT_MILLISECONDS = 10_000;
/** Below the idle time-outs of load balancers, as client-go. */
const KEEP_ALIVE_MILLISECONDS = 30_000;

/** The server of a kubeconfig's cluster, and how a connection to it is made. */
export interface ApiServer {
  /** As the kubeconfig has it, without a slash at the end. */
  readonly url: string;
  /** The path before every request's, '' or `/k8s/clusters/c-1`. */
  readonly basePath: string;
  /** The value of the Host header. */
  readonly host: string;
  /** Names or addresses of the server, and of the proxy on the way to it. */
  readonly hosts: readonly string[];
  /**
   * A new connection, through the proxy and with TLS where the kubeconfig says so. Rejects with what went
   * wrong, not yet a Failure; with a TimeoutError after 10 s.
   */
  dial(certificate: ClientCertificate | undefined, options?: AbortOptions): Promise<Socket>;
}

/** Reads a cluster entry of the kubeconfig. Failure KUBECONFIG_INVALID for one that cannot be used. */
export function apiServer(settings: ContextSettings): ApiServer {
  const { cluster } = settings;
  // kubectl takes a server without a scheme as http://.
  const text = settings.server.includes('://') ? settings.server : `http://${settings.server}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new Failure('KUBECONFIG_INVALID', `the server "${settings.server}" of context "${settings.context}" is not an http(s) URL`);
  }
  const secure = url.protocol === 'https:';
  const destination: Destination = { host: hostOf(url), port: url.port === '' ? (secure ? 443 : 80) : Number(url.port) };
  const proxyText = cluster['proxy-url'] ?? proxyFromEnvironment(url);
  const proxy = proxyText === undefined ? undefined : parseProxyUrl(proxyText);
  const insecure = cluster['insecure-skip-tls-verify'] === true;
  const authority = pem(cluster['certificate-authority-data'], cluster['certificate-authority'], 'certificate authority');
  // Without an authority in the kubeconfig the system's own count, as in Go; reading them takes some 20 ms.
  let trusted: string[] | undefined;
  const roots = (): (string | Buffer)[] => {
    if (authority !== undefined) return [authority];
    trusted ??= [...new Set([...rootCertificates, ...getCACertificates('system')])];
    return trusted;
  };

  const lookup = rememberedLookup();
  const dial = async (certificate: ClientCertificate | undefined, signal: AbortSignal): Promise<Socket> => {
    let socket = await opened(
      connectTcp({ ...(proxy === undefined ? destination : proxyAddress(proxy)), lookup, noDelay: true }),
      'connect',
      signal,
    );
    socket.setKeepAlive(true, KEEP_ALIVE_MILLISECONDS);
    if (proxy !== undefined) {
      if (proxy.protocol === 'https:') {
        const ca = [...rootCertificates, ...(authority === undefined ? [] : [authority])];
        socket = await secured(socket, hostOf(proxy), { ca, rejectUnauthorized: !insecure }, signal);
      }
      socket = await whileOpen(socket, throughProxy(socket, proxy, destination), signal);
    }
    if (!secure) return socket;
    const name = cluster['tls-server-name'] ?? destination.host;
    const tls = insecure ? { rejectUnauthorized: false } : { ca: roots() };
    return await secured(socket, name, { ...tls, ...certificate, ALPNProtocols: ['http/1.1'] }, signal);
  };

  return {
    url: text.replace(/\/+$/, ''),
    basePath: url.pathname.replace(/\/+$/, ''),
    host: url.host,
    hosts: [destination.host, ...(proxy === undefined ? [] : [proxyAddress(proxy).host])],
    dial: async (certificate, { signal } = {}) => await dial(certificate, deadline(CONNECT_MILLISECONDS, signal)),
  };
}

async function secured(socket: Socket, name: string, options: ConnectionOptions, signal: AbortSignal): Promise<TLSSocket> {
  const tls = connectTls({
    ...options,
    socket,
    // An address is no server name (RFC 6066 section 3), but it is what the certificate is checked against.
    ...(isIP(name) === 0 && { servername: name }),
    checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
  });
  return await opened(tls, 'secureConnect', signal);
}

/** Waits for a socket's first event; destroys it when that fails. */
async function opened<S extends Socket>(socket: S, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<S> {
  const { promise, resolve } = Promise.withResolvers<S>();
  const onOpen = (): void => resolve(socket);
  socket.once(event, onOpen);
  try {
    return await whileOpen(socket, promise, signal);
  } finally {
    socket.off(event, onOpen);
  }
}

/** What `work` resolves with, unless the socket fails or the signal aborts first: then the socket is destroyed. */
async function whileOpen<T>(socket: Socket, work: Promise<T>, signal: AbortSignal): Promise<T> {
  const failed = Promise.withResolvers<never>();
  const onClose = (): void => failed.reject(new Error('the connection was closed while it was being set up'));
  const onAbort = (): void => failed.reject(signal.reason);
  socket.once('error', failed.reject).once('close', onClose);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    return await Promise.race([work, failed.promise]);
  } catch (error) {
    // The work fails with the socket, unheard.
    work.catch(() => {});
    failed.promise.catch(() => {});
    socket.on('error', () => {});
    socket.destroy();
    throw error;
  } finally {
    socket.off('error', failed.reject).off('close', onClose);
    signal.removeEventListener('abort', onAbort);
  }
}
