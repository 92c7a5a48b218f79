import { canonicalAddress } from '../../../simulator/dns/records.ts';
import type { Endpoint } from '../../../tunnel/index.ts';
import type { Program, Sought } from './program.ts';
import { listedSockets, type ListedSocket } from './socket-tables.ts';
import { ownersOf, programOf, userName } from './socket-owners.ts';

/**
 * The programs by the kernel's own lists: exact, of TCP and UDP, in every network namespace of which a process is known. What of somebody else's processes an
 * ordinary user may not see is their user.
 */
export async function findLinuxPrograms(sought: readonly Sought[]): Promise<readonly (Program | undefined)[]> {
  const tables = new Map<string, SocketIndex>();
  const sockets = sought.map(({ flow, network }) => {
    const key = `${flow.protocol} ${network ?? 'self'}`;
    let table = tables.get(key);
    if (table === undefined) tables.set(key, (table = new SocketIndex(listedSockets(flow.protocol, network ?? 'self'))));
    return table.find(flow.program.local, flow.program.remote, flow.direction);
  });
  const owners = ownersOf(new Set(sockets.flatMap((socket) => (socket === undefined ? [] : [socket.inode]))));
  const me = process.getuid?.();
  return sockets.map((socket) => {
    if (socket === undefined) return undefined;
    const pid = owners.get(socket.inode);
    const user = socket.uid === me ? {} : { user: userName(socket.uid) };
    return pid === undefined ? user : { ...programOf(pid), ...user };
  });
}

/** The sockets of a namespace, by their local ports. */
class SocketIndex {
  readonly #byPort = new Map<number, ListedSocket[]>();

  constructor(sockets: readonly ListedSocket[]) {
    for (const socket of sockets) {
      const same = this.#byPort.get(socket.local.port);
      if (same === undefined) this.#byPort.set(socket.local.port, [socket]);
      else same.push(socket);
    }
  }

  /**
   * The socket between these two; else one at the local end: of a caller that is connected to somebody else (a proxy of ours), or one that is connected to
   * nobody (a listener, most UDP sockets).
   */
  find(local: Endpoint, remote: Endpoint | undefined, direction: 'out' | 'in'): ListedSocket | undefined {
    const here = this.#byPort.get(local.port) ?? [];
    const address = canonicalAddress(local.address);
    const connected = remote === undefined ? undefined : canonicalAddress(remote.address);
    return (
      here.find(
        (socket) => socket.local.address === address && socket.remote.port === remote?.port && socket.remote.address === connected,
      ) ??
      here.find((socket) => socket.local.address === address && (direction === 'out' || socket.remote.port === 0)) ??
      here.find((socket) => socket.remote.port === 0 && isWildcard(socket.local.address))
    );
  }
}

function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}
