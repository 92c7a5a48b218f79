import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, isIPv6, type Server } from 'node:net';
import { messageOf, systemCode } from '../../../platform/errors.ts';
import { Failure } from '../../../platform/errors.ts';
import type { NameListeners } from './types.ts';

/**
 * Addresses of loopback that nobody is known to use: 127.0.0.53 and .54 are systemd-resolved's, 127.0.1.1 was NetworkManager's dnsmasq. One of
 * several, not the wildcard: from that, answers leave with another source address than they were asked at.
 */
const candidates = ['127.0.0.56', '127.0.0.57', '127.0.0.58'] as const;

/**
 * Opens the sockets for names. Port 53 of a loopback address, or, where a program of this machine holds port 53 of all addresses, a free port:
 * `usesPort53` says which. Rejects with a Failure (`NAMES_LISTEN`).
 */
export async function listenForNames(): Promise<NameListeners> {
  let problem: unknown;
  for (const [address, port] of [...candidates.map((candidate) => [candidate, 53] as const), [candidates[0], 0] as const]) {
    try {
      const first = await listenAt(address, port);
      const second = await listenAt('::1', 0).catch(() => undefined);
      const both = second === undefined ? [first] : [first, second];
      return {
        udp: both.map(({ udp }) => udp),
        tcp: both.map(({ tcp }) => tcp),
        address: { address, port: first.port },
        address6: second === undefined ? undefined : { address: '::1', port: second.port },
      };
    } catch (error) {
      problem = error;
      if (systemCode(error) !== 'EADDRINUSE') break;
    }
  }
  throw new Failure('NAMES_LISTEN', `names cannot be served on this machine: ${messageOf(problem)}`, {
    likely: 'kpctl does not run as root, or the loopback device is down',
    remedy: 'run "ip address show lo"',
    cause: problem,
  });
}

/** UDP and TCP on one port; port 0: one that is free for both. */
async function listenAt(address: string, port: number): Promise<{ udp: DatagramSocket; tcp: Server; port: number }> {
  const tcp = createServer({ allowHalfOpen: true });
  const udp = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', ipv6Only: isIPv6(address) });
  try {
    const listening = once(tcp, 'listening');
    tcp.listen({ host: address, port, ipv6Only: isIPv6(address) });
    await listening;
    const bound = tcp.address();
    const chosen = typeof bound === 'object' && bound !== null ? bound.port : port;
    const ready = once(udp, 'listening');
    udp.bind(chosen, address);
    await ready;
    return { udp, tcp, port: chosen };
  } catch (error) {
    tcp.close();
    udp.close();
    throw error;
  }
}
