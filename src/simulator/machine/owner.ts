import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../../platform/errors.ts';
import { journalPath, parseJournal, type JournalContent, type JournalOwner } from './journal.ts';
import { journalDirectory } from './paths.ts';
import type { Leftovers, UpOwner } from './types.ts';

/** The network namespace of this process, by its inode. */
export function thisNetwork(): number {
  return statSync('/proc/self/ns/net').ino;
}

/** The kernel's name for this boot (random(4)). */
export function thisBoot(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** When a process began, in ticks since the boot; undefined when it is no more, or may not be looked at. */
export function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // Z: it has ended, and its parent has not looked yet.
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Whether the writer of a journal lives. */
export function isAlive({ boot, pid, started }: JournalOwner): boolean {
  if (boot !== thisBoot()) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) !== 'EPERM') return false;
  }
  const now = startOf(pid);
  // Where other users' processes are hidden (hidepid), its number must do.
  return now === undefined ? hiddenFromUs(pid) : now === started;
}

function hiddenFromUs(pid: number): boolean {
  try {
    statSync(`/proc/${pid}`);
    return false;
  } catch {
    return process.getuid?.() !== 0;
  }
}

/** Who has joined this network namespace to a cluster now; undefined: nobody. For every user. */
export function owner(directory = journalDirectory): UpOwner | undefined {
  const found = readOwner(journalPath(thisNetwork(), directory));
  return found !== undefined && isAlive(found) ? describe(found) : undefined;
}

/** What a killed `up` has left here, for `repair`; undefined: nothing. For every user, and cheap where there is nothing. */
export function leftovers(directory = journalDirectory): Leftovers | undefined {
  for (const path of leftJournals(directory)) {
    const { owner: found, entries } = readJournal(path);
    // One was killed before it had changed anything: the next one takes its file.
    if (entries.size > 0) return { name: found?.name ?? '', since: new Date(found?.since ?? 0) };
  }
  return undefined;
}

/** Journals that nobody writes any more: this network namespace's, and those of earlier boots. */
export function leftJournals(directory = journalDirectory): string[] {
  const here = journalPath(thisNetwork(), directory);
  return names(directory)
    .map((name) => join(directory, name))
    .filter((path) => {
      const found = readOwner(path);
      if (found === undefined) return path === here;
      return path === here || found.boot !== thisBoot() ? !isAlive(found) : false;
    });
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function readOwner(path: string): JournalOwner | undefined {
  return readJournal(path).owner;
}

function readJournal(path: string): JournalContent {
  try {
    return parseJournal(readFileSync(path, 'utf8'));
  } catch {
    return parseJournal('');
  }
}

/** As others see it. */
export function describe({ pid, agentPid, uid, name, since }: JournalOwner): UpOwner {
  return { pid, uid, name, since: new Date(since), ...(agentPid !== undefined && { agentPid }) };
}
