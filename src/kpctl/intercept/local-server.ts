import { dialTcp, DialError } from '../../forwarder/dial.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { readFile } from 'node:fs/promises';
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

/**
 * Whether something listens there now, on either loopback. Read from proc_net_tcp(5): a connection made to find out
 * would be one that the server did not expect, and a server that speaks first would be heard by nobody.
 */
export async function localServerListens(port: number): Promise<boolean> {
  const [tcp, tcp6] = await Promise.all(['tcp', 'tcp6'].map(async (name) => await readFile(`/proc/net/${name}`, 'utf8').catch(() => '')));
  return parseListeningPorts(tcp ?? '', tcp6 ?? '').has(port);
}
