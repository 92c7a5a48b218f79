import type { ProxyAccess } from './access.ts';

/**
 * What is not to go through the proxy: the laptop's own loopback. Nothing of the laptop's NO_PROXY: it often names the cluster's domain or
 * networks, and the proxy itself honours it for what is outside of the cluster.
 */
const NO_PROXY = 'localhost,127.0.0.1,127.0.0.0/8,::1';

/** The variables by which programs find the proxy. */
export function proxyVariables(access: ProxyAccess, port: number): Record<string, string> {
  const http = access.url('http', port);
  const socks = access.url('socks5h', port);
  return {
    // Upper and lower case, since some programs read only one of them: curl only http_proxy, as CGI scripts get HTTP_PROXY from strangers.
    HTTP_PROXY: http,
    http_proxy: http,
    HTTPS_PROXY: http,
    https_proxy: http,
    ALL_PROXY: socks,
    all_proxy: socks,
    NO_PROXY,
    no_proxy: NO_PROXY,
    // Node reads the others only when it is told to (24.5, and 22.21).
    NODE_USE_ENV_PROXY: '1',
  };
}

/** Variables of single protocols, which would win over those above. */
const others = new Set(['grpc_proxy', 'no_grpc_proxy', 'ws_proxy', 'wss_proxy', 'WS_PROXY', 'WSS_PROXY', 'socks_proxy', 'SOCKS_PROXY']);

/** An environment without the variables that would lead single protocols around the proxy. */
export function withoutProxies<T>(variables: Iterable<readonly [string, T]>): (readonly [string, T])[] {
  return [...variables].filter(([name]) => !others.has(name));
}
