import { readdirSync, readlinkSync } from 'node:fs';
import type { ClaimTarget } from '../claims/messages.ts';
import { TcpStates, tcpSockets, type TcpSocket } from '../platform/socket-diagnostics.ts';

/** IPv4-mapped addresses of a dual-stack socket. */
const MAPPED = '00000000000000000000ffff';
const IPV6_LOOPBACK = '00000000000000000000000000000001';
const { established, closeWait, finWait1, finWait2 } = TcpStates;

/**
 * The connections from outside the pod that the app holds at a port, as text that identifies each. Not ours, and not those that the
 * pod makes to itself. Throws SystemCallError.
 */
export function appConnections({ port }: ClaimTarget): string[] {
  const ours = ownInodes();
  return tcpSockets(established | closeWait | finWait1 | finWait2, port)
    .filter((socket) => !isInternal(socket) && !ours.has(socket.inode))
    .map(({ localAddress, remoteAddress, remotePort }) => `${localAddress}/${remoteAddress}/${remotePort}`);
}

function isInternal({ localAddress, remoteAddress }: TcpSocket): boolean {
  const remote = plain(remoteAddress);
  return remote === plain(localAddress) || remote === IPV6_LOOPBACK || (remote.length === 8 && remote.startsWith('7f'));
}

function plain(address: string): string {
  return address.startsWith(MAPPED) ? address.slice(MAPPED.length) : address;
}

/** The inodes of this process's sockets (proc(5), /proc/pid/fd). */
function ownInodes(): Set<number> {
  const inodes = new Set<number>();
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const inode = /^socket:\[(\d+)\]$/u.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
      if (inode !== undefined) inodes.add(Number(inode));
    } catch {
      // Closed since.
    }
  }
  return inodes;
}
