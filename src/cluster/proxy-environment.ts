import { BlockList, isIP } from 'node:net';

/**
 * The proxy that the environment names for a server, as Go's net/http and therefore kubectl reads it
 * (golang.org/x/net/http/httpproxy): HTTPS_PROXY or HTTP_PROXY by the server's scheme, upper case first, and
 * NO_PROXY with names, `.suffixes`, addresses, CIDRs, an optional `:port`, and `*`. Loopback is never proxied.
 */
export function proxyFromEnvironment(server: URL, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const of = (name: string): string | undefined => env[name] || env[name.toLowerCase()] || undefined;
  const proxy = of(server.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY');
  if (proxy === undefined) return undefined;
  const host = server.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = server.port === '' ? (server.protocol === 'https:' ? '443' : '80') : server.port;
  if (host === 'localhost' || isLoopback(host)) return undefined;
  const excluded = (of('NO_PROXY') ?? '').split(',').some((entry) => matches(entry.trim().toLowerCase(), host, port));
  if (excluded) return undefined;
  return proxy.includes('://') ? proxy : `http://${proxy}`;
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === '') return false;
  if (entry === '*') return true;
  if (entry.includes('/')) return isInNetwork(host, entry);
  const portOf = /^(.*[^:]):(\d+)$/.exec(entry);
  const withPort = portOf !== null && isIP(entry) === 0;
  if (withPort && portOf[2] !== port) return false;
  const name = (withPort ? (portOf[1] ?? '') : entry).replace(/^\[|\]$/g, '');
  if (isIP(name) !== 0) return name === host;
  if (name.startsWith('*.')) return host.endsWith(name.slice(1));
  if (name.startsWith('.')) return host.endsWith(name);
  return host === name || host.endsWith(`.${name}`);
}

function isInNetwork(host: string, cidr: string): boolean {
  const [network = '', bits = ''] = cidr.split('/');
  const version = isIP(network);
  if (version === 0 || isIP(host) !== version || !/^\d+$/.test(bits)) return false;
  if (Number(bits) > (version === 6 ? 128 : 32)) return false;
  const family = version === 6 ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  list.addSubnet(network, Number(bits), family);
  return list.check(host, family);
}

function isLoopback(host: string): boolean {
  return host === '::1' || isInNetwork(host, '127.0.0.0/8');
}
