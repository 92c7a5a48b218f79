import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { emptyBoundingSet, passOnCapabilities } from '../../../platform/namespaces.ts';

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
 * and a change of the window's size reach it directly. In a user namespace of our own it gets no capability, and nothing that it starts can get one
 * from a program's file; the helper keeps its own, for volumes. (no_new_privs is not set: it would break AppArmor profiles.)
 */
export function startCommand({ command, environment, directory, stderr, dropCapabilities }: CommandOptions): ChildProcess {
  const [file = '', ...parameters] = command;
  // ENOENT from exec would not tell a missing folder from a missing program.
  statSync(directory);
  if (dropCapabilities) {
    passOnCapabilities([]);
    emptyBoundingSet();
  }
  return spawn(file, parameters, { env: environment, cwd: directory, stdio: [0, 1, stderr] });
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
