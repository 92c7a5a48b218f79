import {
  chmodSync,
  closeSync,
  fchmodSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { systemCode } from '../../platform/errors.ts';
import { tryLock } from '../../platform/file-lock.ts';
import { journalDirectory } from './paths.ts';
import type { Journal } from './types.ts';

/** Who writes a journal; its first entry. */
const ownerSchema = z.object({
  /** Of this boot: after the next one nothing of the kernel's is left, but files are. */
  boot: z.string(),
  /** The network namespace, by its inode. */
  network: z.int(),
  pid: z.int(),
  /** When that process began, in ticks since the boot (proc_pid_stat(5), field 22): another one may get its number. */
  started: z.string(),
  agentPid: z.int().optional(),
  uid: z.int(),
  name: z.string(),
  /** Milliseconds since 1970. */
  since: z.number(),
});
export type JournalOwner = z.infer<typeof ownerSchema>;

const lineSchema = z.object({ key: z.string(), value: z.record(z.string(), z.unknown()).optional() });
const ownerKey = 'owner';
/** Keys of the network's entries; those of the names begin with `names/`. */
export const journalKeys = { rules: 'network/rules', device: 'network/device' } as const;

/** What is in a journal: entries in the order in which they were first set. */
export interface JournalContent {
  readonly owner: JournalOwner | undefined;
  readonly entries: ReadonlyMap<string, object>;
}

/** Reads a journal's text: a JSON line for each change of it. The last one may be cut short: then what it was for has not been done. */
export function parseJournal(text: string): JournalContent {
  const entries = new Map<string, object>();
  let owner: JournalOwner | undefined;
  for (const line of text.split('\n')) {
    const change = parseLine(line);
    if (change === undefined) continue;
    const { key, value } = change;
    if (key === ownerKey) owner = ownerSchema.safeParse(value).data ?? owner;
    else if (value === undefined) entries.delete(key);
    else entries.set(key, value);
  }
  return { owner, entries };
}

function parseLine(line: string): z.infer<typeof lineSchema> | undefined {
  try {
    return lineSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

/** The journal's file for a network namespace. */
export function journalPath(network: number, directory = journalDirectory): string {
  return join(directory, String(network));
}

/** A journal that is held: nobody else has it, until `end` or until this process ends in whichever way. */
export class HeldJournal implements Journal {
  readonly #path: string;
  readonly #fd: number;
  readonly #keys = new Set<string>();
  #torn = false;
  /** What was there before. */
  readonly found: JournalContent;

  private constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
    this.found = parseJournal(readFileSync(path, 'utf8'));
    for (const key of this.found.entries.keys()) this.#keys.add(key);
    // After half a line, whatever comes begins on one of its own.
    if (fstatSync(fd).size > 0) writeSync(fd, '\n');
  }

  /** Takes the journal; undefined while another process has it. Throws the system's error. */
  static take(path: string): HeldJournal | undefined {
    for (;;) {
      const fd = openJournal(path);
      try {
        if (!tryLock(fd)) {
          closeSync(fd);
          return undefined;
        }
        // Who held it may have removed it meanwhile: then this is a file that nobody else can find.
        if (isAt(path, fd)) return new HeldJournal(path, fd);
        closeSync(fd);
      } catch (error) {
        closeSync(fd);
        throw error;
      }
    }
  }

  own(owner: JournalOwner): void {
    this.#write({ key: ownerKey, value: owner });
  }

  set(key: string, value: object): void {
    this.#write({ key, value });
    this.#keys.add(key);
  }

  delete(key: string): void {
    if (!this.#keys.delete(key)) return;
    this.#write({ key });
  }

  /** Lets go of it; it stays on disk only where something is not undone. */
  end(): void {
    if (this.#keys.size === 0) {
      unlinkSync(this.#path);
      try {
        rmdirSync(dirname(this.#path));
        rmdirSync(dirname(dirname(this.#path)));
      } catch {
        // Another network namespace's journal is in it, or something else of ours.
      }
    }
    closeSync(this.#fd);
  }

  #write(line: object): void {
    // All of it, or an error: a disk that becomes full takes a part first. After that part, whatever comes begins on a line of its own.
    const begin = this.#torn ? '\n' : '';
    this.#torn = true;
    writeFileSync(this.#fd, `${begin}${JSON.stringify(line)}\n`);
    this.#torn = false;
    fdatasyncSync(this.#fd);
  }
}

function openJournal(path: string): number {
  for (;;) {
    const folder = dirname(path);
    const made = mkdirSync(folder, { recursive: true });
    try {
      // Readable by all, also where root's umask says otherwise: every user's kpctl looks.
      if (made !== undefined) for (let of = folder; of.length >= made.length; of = dirname(of)) chmodSync(of, 0o755);
      const fd = openSync(path, 'a+', 0o644);
      fchmodSync(fd, 0o644);
      synchronizeFolder(folder);
      return fd;
    } catch (error) {
      // Removed by the one before us, in this moment.
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }
}

function synchronizeFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function isAt(path: string, fd: number): boolean {
  try {
    return statSync(path).ino === fstatSync(fd).ino;
  } catch {
    return false;
  }
}
