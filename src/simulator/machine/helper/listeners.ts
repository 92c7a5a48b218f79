import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { listenForFlows, portOf } from '../../../interceptor/listen.ts';
import { Conntrack } from '../../../platform/conntrack.ts';
import { openTransparentDatagrams } from '../../../platform/datagrams.ts';
import { systemCode } from '../../../platform/errors.ts';
import { addressBytes } from '../../datagrams/addresses.ts';
import type { DatagramListener } from '../../datagrams/carry.ts';
import { machineAddresses as addresses } from '../addresses.ts';
import type { ListenerPorts } from '../rules.ts';

/** Asked of the kernel for what arrives while this process does something else. */
const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;
/** How often another port is tried, when one that is free for TCP is not for UDP. */
const ATTEMPTS = 20;

/** What the rules send captured traffic to. */
export interface CaptureListeners {
  /** To be handed over. */
  readonly flows: readonly Server[];
  readonly dnsUdp: readonly DatagramSocket[];
  readonly dnsTcp: readonly Server[];
  /** This process's: it takes what arrives there. */
  readonly datagrams: readonly DatagramListener[];
  readonly ports: ListenerPorts;
}

/** Opens all listeners, at loopback and at the addresses of our device, which are there already. Rejects with the system's error. */
export async function openListeners(families: readonly (4 | 6)[]): Promise<CaptureListeners> {
  const flows: Server[] = [];
  const dnsUdp: DatagramSocket[] = [];
  const dnsTcp: Server[] = [];
  const datagrams: DatagramListener[] = [];
  const conntrack = new Conntrack();
  const local: Partial<Record<4 | 6, number>> = {};
  const containers: Partial<Record<4 | 6, number>> = {};
  const containerNames: Partial<Record<4 | 6, number>> = {};
  for (const family of families) {
    const here = await openPair(family === 4 ? '127.0.0.1' : '::1');
    const own = await openPair(family === 4 ? addresses.own : addresses.own6);
    const names = await openNames(family === 4 ? addresses.own : addresses.own6);
    flows.push(here.server, own.server);
    datagrams.push({ fd: here.fd, family }, { fd: own.fd, family, original: (datagram) => original(conntrack, datagram) });
    dnsUdp.push(names.udp);
    dnsTcp.push(names.tcp);
    local[family] = here.port;
    containers[family] = own.port;
    containerNames[family] = names.port;
  }
  return { flows, dnsUdp, dnsTcp, datagrams, ports: { local, containers, containerNames } };
}

function original(
  conntrack: Conntrack,
  datagram: Parameters<NonNullable<DatagramListener['original']>>[0],
): ReturnType<NonNullable<DatagramListener['original']>> {
  const before = conntrack.originalOf(datagram);
  // Sent to our port itself, by somebody on this machine: to nobody.
  if (before === undefined || before.destinationPort === datagram.destinationPort) return undefined;
  return { ...before, payload: datagram.payload };
}

/** TCP for the agent, and UDP with the original destination for us, on one port. */
async function openPair(address: string): Promise<{ server: Server; fd: number; port: number }> {
  return await withFreePort(async () => {
    const server = await listenForFlows(address, 0);
    const port = portOf(server);
    try {
      return { server, port, fd: openTransparentDatagrams(addressBytes(address), port, RECEIVE_BUFFER_BYTES) };
    } catch (error) {
      server.close();
      throw error;
    }
  });
}

/** Where questions of containers arrive. */
async function openNames(address: string): Promise<{ udp: DatagramSocket; tcp: Server; port: number }> {
  return await withFreePort(async () => {
    const tcp = createServer({ allowHalfOpen: true });
    const udp = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4' });
    try {
      tcp.listen({ host: address, port: 0, exclusive: true });
      await once(tcp, 'listening');
      udp.bind({ address, port: portOf(tcp), exclusive: true });
      await once(udp, 'listening');
      return { udp, tcp, port: portOf(tcp) };
    } catch (error) {
      tcp.close();
      udp.close();
      throw error;
    }
  });
}

async function withFreePort<T>(open: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await open();
    } catch (error) {
      if (systemCode(error) !== 'EADDRINUSE' || attempt === ATTEMPTS) throw error;
    }
  }
}
