import {
  accessSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fsyncSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { systemCode } from '../../../platform/errors.ts';
import { parseResolvConf, withoutOurs, type OurLines } from './resolv-conf-text.ts';

/** What was at a path before us: enough to make it anew, to the bit. */
export type Original =
  | { readonly kind: 'absent' }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'file'; readonly bytes: string; readonly mode: number; readonly uid: number; readonly gid: number };

/** The journal's entry of one replaced file. */
export interface Replacement {
  readonly path: string;
  /** `in-place`: a file that is a mount point keeps its inode. */
  readonly how: 'replace' | 'in-place';
  readonly original: Original;
  /** Every text of ours that may be there now. */
  readonly texts: readonly string[];
  readonly lines: OurLines;
}

/** Where the original waits, the same inode with all its attributes. */
export function keptPath(path: string): string {
  return `${path}.before-kpctl`;
}

function newPath(path: string): string {
  return `${path}.kpctl-new`;
}

/** How the file can be changed; undefined where it cannot (immutable, on a read-only file system, mounted read-only). Changes nothing. */
export function howToReplace(path: string): Replacement['how'] | undefined {
  try {
    const mounted = isMountPoint(path);
    accessSync(dirname(path), constants.W_OK);
    const original = readOriginal(path);
    // Opening an immutable file for writing fails also for root, and so would replacing it.
    if (original.kind === 'file') closeSync(openSync(path, 'r+'));
    return mounted ? 'in-place' : 'replace';
  } catch {
    return undefined;
  }
}

function isMountPoint(path: string): boolean {
  const escaped = path.replaceAll(' ', String.raw`\040`);
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[4] === escaped);
}

/** Throws for what is neither file nor link. */
export function readOriginal(path: string): Original {
  let stat;
  try {
    stat = lstatSync(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { kind: 'absent' };
    throw error;
  }
  if (stat.isSymbolicLink()) return { kind: 'link', target: readlinkSync(path) };
  if (!stat.isFile()) throw new Error(`${path} is neither a file nor a link`);
  return { kind: 'file', bytes: readFileSync(path).toString('base64'), mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid };
}

/** The text of a file; of a link, that of the file behind it; undefined where there is none. */
export function textAt(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Whether a text of ours is there, and nothing else. */
export function isOurs({ path, texts }: Replacement): boolean {
  const now = readOriginal(path);
  return now.kind === 'file' && texts.includes(Buffer.from(now.bytes, 'base64').toString());
}

/** Keeps what is at the path aside, to be put back by {@link undoReplacement}. The journal has it by now. */
export function keepOriginal({ path, how }: Replacement): void {
  if (how === 'in-place') return;
  const temporary = `${newPath(path)}-kept`;
  rmSync(temporary, { force: true });
  try {
    // A second name first: so there is no moment without a file at the path.
    linkSync(path, temporary);
    renameSync(temporary, keptPath(path));
  } catch {
    // No such file, or a file system without hard links: the journal's copy must do.
    rmSync(keptPath(path), { force: true });
  }
}

/** Puts back what waits beside the path, if anything does. */
export function putBackKept(path: string): void {
  if (tryReadOriginal(keptPath(path))?.kind !== 'absent') renameSync(keptPath(path), path);
}

/** Puts the original back with another text: somebody has written into our file, and would have written into that one. */
export function putBackWith({ path, how }: Replacement, text: string): void {
  if (how === 'in-place' || tryReadOriginal(keptPath(path))?.kind !== 'file') return;
  writeInto(keptPath(path), text);
  renameSync(keptPath(path), path);
}

/** Puts `text` at the path. */
export function putText({ path, how }: Pick<Replacement, 'path' | 'how'>, text: string): void {
  if (how === 'in-place') return writeInto(path, text);
  writeNew(newPath(path), Buffer.from(text));
  chownSync(newPath(path), 0, 0);
  chmodSync(newPath(path), 0o644);
  renameSync(newPath(path), path);
}

/** Puts the original back unless somebody else has written the file meanwhile; then only what is ours is taken out of theirs. Says what was done. */
export function undoReplacement(replacement: Replacement): string | undefined {
  const { path, how, lines, texts, original } = replacement;
  if (how === 'replace') for (const left of [newPath(path), `${newPath(path)}-kept`]) rmSync(left, { force: true });
  const now = readOriginal(path);
  if (now.kind === 'absent' || isOurs(replacement)) {
    restore(replacement);
    return `${path} is as it was`;
  }
  const theirs = now.kind === 'file' ? withoutOurs(Buffer.from(now.bytes, 'base64').toString(), lines) : undefined;
  if (theirs === undefined) {
    forget(replacement);
    return undefined;
  }
  if (parseResolvConf(theirs).nameservers.length > 0) {
    putLike(replacement, now, Buffer.from(theirs));
    forget(replacement);
    return `kpctl's lines are taken out of ${path}, which somebody else has changed meanwhile`;
  }
  const known = new Set(texts.flatMap((text) => (withoutOurs(text, lines) ?? text).split('\n')));
  restore(replacement);
  const added = theirs.split('\n').filter((line) => line.trim() !== '' && !known.has(line));
  if (added.length > 0 && original.kind === 'file') {
    putLike(replacement, original, Buffer.concat([Buffer.from(original.bytes, 'base64'), Buffer.from(`${added.join('\n')}\n`)]));
  }
  return `${path} is as it was, with what somebody else has added meanwhile`;
}

function restore(replacement: Replacement): void {
  const { path, how, original } = replacement;
  if (how === 'in-place') {
    if (original.kind === 'file') writeInto(path, Buffer.from(original.bytes, 'base64'));
    return;
  }
  if (sameOriginal(tryReadOriginal(keptPath(path)), original) && original.kind !== 'absent') {
    renameSync(keptPath(path), path);
    return;
  }
  if (original.kind === 'absent') rmSync(path, { force: true });
  else if (original.kind === 'file') putLike(replacement, original, Buffer.from(original.bytes, 'base64'));
  else {
    rmSync(newPath(path), { force: true });
    symlinkSync(original.target, newPath(path));
    renameSync(newPath(path), path);
  }
  forget(replacement);
}

function forget({ path, how }: Replacement): void {
  if (how === 'replace') rmSync(keptPath(path), { force: true });
}

function tryReadOriginal(path: string): Original | undefined {
  try {
    return readOriginal(path);
  } catch {
    return undefined;
  }
}

function sameOriginal(one: Original | undefined, other: Original): boolean {
  if (one?.kind === 'file' && other.kind === 'file') return one.bytes === other.bytes;
  return one?.kind === 'link' && other.kind === 'link' && one.target === other.target;
}

/** A file with the mode and owner of `like`. */
function putLike({ path, how }: Replacement, like: Original, bytes: Buffer): void {
  if (how === 'in-place') return writeInto(path, bytes);
  writeNew(newPath(path), bytes);
  if (like.kind === 'file') {
    chownSync(newPath(path), like.uid, like.gid);
    chmodSync(newPath(path), like.mode);
  }
  renameSync(newPath(path), path);
}

function writeNew(path: string, bytes: Buffer): void {
  rmSync(path, { force: true });
  const file = openSync(path, 'wx', 0o600);
  try {
    writeSync(file, bytes);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Keeps the inode. What is there is never empty. */
function writeInto(path: string, content: string | Buffer): void {
  const bytes = Buffer.from(content);
  const file = openSync(path, 'r+');
  try {
    writeSync(file, bytes, 0, bytes.length, 0);
    ftruncateSync(file, bytes.length);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
