import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** The network namespace of a process as `net:[4026532000]`, or undefined: the process is gone, or not ours to ask. */
export function networkOf(pid: number | 'self'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

/** Processes in the network namespace `network`, the calling one left out. */
export function processesIn(network: string, except: readonly number[] = []): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid && !except.includes(pid) && networkOf(pid) === network);
}

/**
 * Ends every process in the network namespace `network`: SIGTERM and SIGHUP (with SIGCONT, for the stopped ones), and
 * SIGKILL for those that are still there after `grace` milliseconds. Resolves when none is left, or when even SIGKILL
 * has not ended one within 5 s (it hangs in the kernel).
 */
export async function endProcessesIn(
  network: string,
  { grace, except = [] }: { grace: number; except?: readonly number[] },
): Promise<void> {
  const told = new Set<number>();
  const end = performance.now() + grace;
  for (let pids = processesIn(network, except); pids.length > 0; pids = processesIn(network, except)) {
    const force = performance.now() > end;
    if (performance.now() > end + 5000) return;
    for (const pid of pids) {
      if (force) tell(pid, 'SIGKILL');
      else if (!told.has(pid)) {
        told.add(pid);
        // A shell with job control passes SIGHUP on to its jobs and ignores SIGTERM.
        for (const name of ['SIGTERM', 'SIGHUP', 'SIGCONT'] as const) tell(pid, name);
      }
    }
    await delay(force ? 5 : 20);
  }
}

function tell(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}
