import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import type { NetstatItem } from 'node-netstat';
import type { Program, Sought } from './program.ts';

const run = promisify(execFile);

/**
 * The programs by the system's own netstat, wherever there is one. It tells ports and processes and no more: where several sockets have the same port, the
 * one that is connected to the flow's other end is taken, else the listener. Its line for a process may be cut, and a private network it cannot see.
 */
export async function findNetstatPrograms(sought: readonly Sought[]): Promise<readonly (Program | undefined)[]> {
  const items = await netstatItems();
  const pids = sought.map(({ flow, network }) => (network === undefined ? pidOf(items, flow) : undefined));
  const names = await programNames(new Set(pids.filter((pid) => pid !== undefined)));
  return pids.map((pid) => {
    if (pid === undefined) return undefined;
    const name = names.get(pid);
    return { pid, ...(name !== undefined && { name }) };
  });
}

function pidOf(items: readonly NetstatItem[], { protocol, direction, program }: Sought['flow']): number | undefined {
  const here = items.filter((item) => item.pid > 0 && item.protocol.startsWith(protocol) && item.local.port === program.local.port);
  const connected = here.find((item) => program.remote !== undefined && item.remote.port === program.remote.port);
  const listener = here.find((item) => item.remote.port === null || Number.isNaN(item.remote.port));
  // A caller that is connected to somebody else: a proxy of ours.
  return (connected ?? listener ?? (direction === 'out' ? here[0] : undefined))?.pid;
}

/** What netstat lists; nothing where there is none. */
async function netstatItems(): Promise<readonly NetstatItem[]> {
  // Only those who need it load it: it looks at the machine when it is loaded.
  const { default: netstat } = await import('node-netstat');
  return await new Promise((resolve) => {
    const items: NetstatItem[] = [];
    try {
      netstat({ done: () => resolve(items) }, (item) => void items.push(item));
    } catch {
      resolve(items); // it does not know this system
    }
  });
}

/** Names by ps, which POSIX has, in one call. */
async function programNames(pids: ReadonlySet<number>): Promise<ReadonlyMap<number, string>> {
  if (pids.size === 0) return new Map();
  try {
    const { stdout } = await run('ps', ['-o', 'pid=,comm=', '-p', [...pids].join(',')]);
    return new Map(
      stdout.split('\n').flatMap((line) => {
        const [, pid, command] = /^\s*(\d+)\s+(\S.*)$/.exec(line) ?? [];
        return pid === undefined || command === undefined ? [] : [[Number(pid), basename(command)]];
      }),
    );
  } catch {
    return new Map();
  }
}
