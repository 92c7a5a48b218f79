import { execFile, spawn, type ChildProcess } from 'node:child_process';
import type { Closeable } from '../../../platform/owned.ts';
import { findProgram } from '../../../platform/programs.ts';

/** A signal for the whole group has come to all of it before kpctl has handled its own; that a process died of it is heard some moments later. */
const HEARSAY_MILLISECONDS = 100;
/** A signal at most this old is the one that kpctl asks about. */
const SAME_MILLISECONDS = 1_000;

/**
 * Tells whether a signal that kpctl got was meant for its whole process group, as those of the terminal are: by a process in the group that does
 * nothing, and dies of it. The system tells who sent a signal (sigaction(2), SI_KERNEL), and Node does not. Where cat(1) is missing every signal counts as
 * kpctl's alone.
 */
export class GroupSignals implements Closeable {
  readonly #seen: { readonly name: NodeJS.Signals; readonly at: number }[] = [];
  readonly #waiting = new Set<() => void>();
  #witness: ChildProcess | undefined;
  #closed = false;

  constructor() {
    this.#post();
  }

  /** Whether the group has had this signal, too. Each of its signals is told once. */
  async had(name: NodeJS.Signals): Promise<boolean> {
    if (this.#take(name)) return true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, HEARSAY_MILLISECONDS);
    this.#waiting.add(resolve);
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(resolve);
    return this.#take(name);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#witness?.kill('SIGKILL');
    this.#witness = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** It ends with kpctl, whose end of its stdin closes then. */
  #post(): void {
    const cat = findProgram('cat');
    if (cat === undefined || this.#closed) return;
    const witness = spawn(cat, { stdio: ['pipe', 'ignore', 'ignore'], env: {} });
    this.#witness = witness;
    witness.unref();
    witness.stdin.on('error', () => undefined);
    witness.on('error', () => undefined);
    witness.on('exit', (_, signal) => {
      if (this.#closed || signal === null) return;
      this.#seen.push({ name: signal, at: performance.now() });
      for (const resolve of this.#waiting) resolve();
      this.#post();
    });
  }

  #take(name: NodeJS.Signals): boolean {
    const recent = performance.now() - SAME_MILLISECONDS;
    const index = this.#seen.findIndex((seen) => seen.name === name && seen.at > recent);
    if (index === -1) return false;
    this.#seen.splice(index, 1);
    return true;
  }
}

/** Whether a process is in this process's group; true where ps(1) cannot tell. */
export async function sameGroup(pid: number): Promise<boolean> {
  const ps = findProgram('ps');
  if (ps === undefined) return true;
  const groups = await Promise.all([pid, process.pid].map(async (one) => await groupOf(ps, one)));
  return groups.includes('') || groups[0] === groups[1];
}

async function groupOf(ps: string, pid: number): Promise<string> {
  return await new Promise((resolve) => {
    execFile(ps, ['-o', 'pgid=', '-p', String(pid)], (error, stdout) => resolve(error === null ? stdout.trim() : ''));
  });
}
