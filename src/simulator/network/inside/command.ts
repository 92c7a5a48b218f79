import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { Capability, passOnCapabilities } from '../../../platform/namespaces.ts';

export interface CommandOptions {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
  /** The descriptor that is COMMAND's stderr: the helper's own goes to kpctl. */
  readonly stderr: number;
  readonly dropCapabilities: boolean;
}

/**
 * Starts COMMAND in the helper's process group, so that the terminal treats it as it would without kpctl: Ctrl-C, Ctrl-Z
 * and a change of the window's size reach it directly. In a user namespace of our own it gets no capability; the helper
 * keeps CAP_NET_ADMIN for nft. (Its bounding set and no_new_privs are left alone: a program with set-user-ID or file
 * capabilities gets nothing in a namespace where root is not mapped, and no_new_privs would break AppArmor profiles.)
 */
export function startCommand({ command, environment, directory, stderr, dropCapabilities }: CommandOptions): ChildProcess {
  const [file = '', ...parameters] = command;
  // ENOENT from exec would not tell a missing folder from a missing program.
  statSync(directory);
  if (dropCapabilities) passOnCapabilities([]);
  try {
    return spawn(file, parameters, { env: environment, cwd: directory, stdio: [0, 1, stderr] });
  } finally {
    if (dropCapabilities) passOnCapabilities([Capability.netAdmin]);
  }
}

/** The process group of a process (proc_pid_stat(5), field 5), or undefined when it is gone. */
export function processGroupOf(pid: number | 'self'): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in field 2 may hold spaces and parentheses.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
  } catch {
    return undefined;
  }
}
