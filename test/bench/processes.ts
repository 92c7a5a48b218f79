import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';

export type Role = 'sink' | 'relay' | 'pod' | 'laptop' | 'api' | 'laptop-spdy' | 'naive-far' | 'naive-near';

export interface RoleProcess {
  readonly child: ChildProcess;
  readonly port: number;
}

/** Starts a process of `role.ts`; `target` is the port of the next one. */
export async function start(role: Role, target = 0): Promise<RoleProcess> {
  const child = fork(join(import.meta.dirname, 'role.ts'), [role, String(target)]);
  return { child, port: Number(await messageOf(child)) };
}

/** The next message of a process. */
export async function messageOf(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => child.once('message', resolve));
}

/** Ends processes; resolves when they are gone. */
export async function stop(processes: readonly RoleProcess[]): Promise<void> {
  for (const { child } of processes) {
    child.disconnect();
    if (child.exitCode === null) await once(child, 'exit');
  }
}

/** Connects to a port of loopback. */
export async function dial(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

/** Seconds of CPU that the threads of a process have used so far (Linux, Documentation/scheduler/sched-stats.rst: nanoseconds). */
export function cpuSeconds({ child }: Pick<RoleProcess, 'child'>): number {
  const folder = `/proc/${child.pid}/task`;
  let nanoseconds = 0;
  for (const thread of readdirSync(folder)) nanoseconds += Number(readFileSync(join(folder, thread, 'schedstat'), 'latin1').split(' ')[0]);
  return nanoseconds / 1e9;
}

/** Resident memory of a process in bytes (proc_pid_status(5)). */
export function residentBytes({ child }: RoleProcess): number {
  return Number(/VmRSS:\s+(\d+) kB/u.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1'))?.[1]) * 1024;
}
