import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { IPPROTO_IP, IPPROTO_IPV6, IPV6_TRANSPARENT, IP_TRANSPARENT, descriptorOf, setSocketOption } from '../../../platform/libc.ts';
import { capturePort, privateNetworkAddresses as addresses } from '../addresses.ts';
import type { FromInside } from '../messages.ts';

type Purpose = Extract<FromInside, { type: 'listener' }>['purpose'];

/** Hands a listening socket to kpctl; resolves when it has arrived there. */
export type HandOver = (purpose: Purpose, listener: Server | DatagramSocket) => Promise<void>;

/** Opens the network's listeners and hands each over; the helper's copies are closed, lest they accept connections. */
export async function openListeners({ ipv6, handOver }: { ipv6: boolean; handOver: HandOver }): Promise<void> {
  const opened: Promise<[Purpose, Server | DatagramSocket]>[] = [
    listen(addresses.capture, capturePort).then((server) => ['flows', server]),
    listen(addresses.dns, 53).then((server) => ['dns-tcp', server]),
    bind(addresses.dns, 53).then((socket) => ['dns-udp', socket]),
  ];
  if (ipv6) opened.push(listen(addresses.capture6, capturePort).then((server) => ['flows6', server]));
  await Promise.all(
    opened.map(async (opening) => {
      const [purpose, listener] = await opening;
      await handOver(purpose, listener);
      listener.close();
    }),
  );
}

/** A transparent listener (ip(7), IP_TRANSPARENT): it takes connections to whatever address TPROXY gives it. */
async function listen(address: string, port: number): Promise<Server> {
  const server = createServer();
  server.listen({ host: address, port, backlog: 4096, exclusive: true });
  await once(server, 'listening');
  const fd = descriptorOf(server);
  if (fd === undefined) throw new Error(`the listener on ${address} has no descriptor`);
  if (address.includes(':')) setSocketOption(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
  else setSocketOption(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
  return server;
}

async function bind(address: string, port: number): Promise<DatagramSocket> {
  const socket = createSocket('udp4');
  socket.bind({ address, port, exclusive: true });
  await once(socket, 'listening');
  return socket;
}
