import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { Program } from './program.ts';

/**
 * Who has these sockets, by their inodes: the links in /proc/PID/fd, which the kernel shows of one's own processes, and to root of all. Of several (a fork
 * inherits) the one that has had it first, as far as parents tell.
 */
export function ownersOf(inodes: ReadonlySet<string>): Map<string, number> {
  const owners = new Map<string, number>();
  const sought = new Map([...inodes].map((inode) => [`socket:[${inode}]`, inode]));
  if (sought.size === 0) return owners;
  // The newest are looked at first: what has just called is most likely among them.
  for (const pid of processes().toReversed()) {
    for (const link of openFiles(pid)) {
      const inode = sought.get(link);
      if (inode !== undefined && !owners.has(inode)) owners.set(inode, firstOwner(pid, link));
    }
    if (owners.size === sought.size) break;
  }
  return owners;
}

/** The name of a process: its program's, or where its command line says nothing the kernel's. */
export function programOf(pid: number): Program {
  const [command = ''] = read(`/proc/${pid}/cmdline`).split('\0');
  const name = basename(command) || read(`/proc/${pid}/comm`).trim();
  return { pid, ...(name !== '' && { name }) };
}

/** A user's name; `uid 1234` where /etc/passwd has none. */
export function userName(uid: number): string {
  const line = read('/etc/passwd')
    .split('\n')
    .find((text) => text.split(':')[2] === String(uid));
  return line?.split(':')[0] ?? `uid ${uid}`;
}

function processes(): number[] {
  try {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => Number.isInteger(pid) && pid > 0)
      .toSorted((one, other) => one - other);
  } catch {
    return [];
  }
}

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => linkAt(`/proc/${pid}/fd/${fd}`));
  } catch {
    return []; // somebody else's, or it has ended
  }
}

function firstOwner(pid: number, link: string): number {
  let owner = pid;
  for (let parent = parentOf(owner); parent > 1; parent = parentOf(parent)) {
    if (!openFiles(parent).includes(link)) break;
    owner = parent;
  }
  return owner;
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
}

function linkAt(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
