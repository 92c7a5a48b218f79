import type { PortProtocol } from '../../cluster/workloads.ts';
import { answerAssociation, dialTcp, DialError, type AssociationResult } from '../../forwarder/index.ts';
import type { IncomingAssociation } from '../../tunnel/index.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { readFile } from 'node:fs/promises';
import type { Socket as DatagramSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { parseListeningPorts } from '../../simulator/network/index.ts';

/**
 * A connection to a server on the laptop's own loopback. Many development servers listen on `localhost`, which may
 * mean 127.0.0.1 or ::1 alone: the second is tried when the first refuses. Rejects with the DialError of 127.0.0.1.
 */
export async function dialLocal(port: number, options: AbortOptions = {}): Promise<Socket> {
  try {
    return await dialTcp({ address: '127.0.0.1', port }, options);
  } catch (error) {
    if (!(error instanceof DialError) || error.errorClass !== 'refused') throw error;
    return await dialTcp({ address: '::1', port }, options).catch(() => {
      throw error;
    });
  }
}

/** Why datagrams could not be delivered; undefined: they were. */
export type DatagramsUndelivered = { readonly message: string } | undefined;

/**
 * Serves one caller's datagrams from a socket of its own, until it has been idle for a minute. ::1 where only that is listened on, as
 * {@link dialLocal}; UDP cannot try.
 */
export async function answerLocalDatagrams(association: IncomingAssociation, port: number): Promise<DatagramsUndelivered> {
  const [four, six] = await Promise.all([boundUdpAddresses('udp', port), boundUdpAddresses('udp6', port)]);
  const onlySix = four.length === 0 && six.length > 0 && six.every((address) => address === LOOPBACK_SIX);
  return undelivered(await answerAssociation(association, { address: onlySix ? '::1' : '127.0.0.1', port }));
}

/** The same from a socket of another network. */
export async function answerDatagramsFrom(
  open: () => Promise<DatagramSocket>,
  association: IncomingAssociation,
  port: number,
): Promise<DatagramsUndelivered> {
  return undelivered(await answerAssociation(association, { address: '127.0.0.1', port }, { open }));
}

function undelivered(result: AssociationResult): DatagramsUndelivered {
  if (result.kind === 'refused') return { message: result.message };
  return result.ended.kind === 'failed' ? { message: result.ended.message } : undefined;
}

/**
 * Whether something listens there now, on either loopback. Read from proc_net_tcp(5) and its like for UDP: a connection made to find out
 * would be one that the server did not expect, and a server that speaks first would be heard by nobody. Where there is no such table it cannot be known,
 * and counts as yes.
 */
export async function localServerListens(port: number, protocol: PortProtocol = 'tcp'): Promise<boolean> {
  if (process.platform !== 'linux') return true;
  if (protocol === 'udp') {
    return (await Promise.all([boundUdpAddresses('udp', port), boundUdpAddresses('udp6', port)])).some((addresses) => addresses.length > 0);
  }
  const [tcp = '', tcp6 = ''] = await Promise.all(['tcp', 'tcp6'].map(networkTable));
  return parseListeningPorts(tcp, tcp6).has(port);
}

/** ::1 in the kernel's words. */
const LOOPBACK_SIX = '00000000000000000000000001000000';

/** The addresses, in the kernel's hexadecimal, at which that port has a socket that is not connected to one far end. */
async function boundUdpAddresses(table: 'udp' | 'udp6', port: number): Promise<string[]> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const line = new RegExp(`^\\s*\\d+: ([0-9A-F]+):${hex} 0+:0000 `, 'gm');
  return [...(await networkTable(table)).matchAll(line)].map((matched) => matched[1] ?? '');
}

async function networkTable(name: string): Promise<string> {
  return await readFile(`/proc/net/${name}`, 'utf8').catch(() => '');
}
