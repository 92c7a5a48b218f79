import { mkdirSync, readdirSync, readlinkSync, realpathSync, statSync, symlinkSync, writeFileSync, type Dirent } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { systemCode } from '../../../platform/errors.ts';
import { MountFlag, detach, mount, pivotRoot } from '../../../platform/namespaces.ts';

/** Name, inside a cover, of the folder that shows the machine's own. */
const original = '.kpeering';
const tmpfsFlags = MountFlag.noSetuid + MountFlag.noDevices;
const readOnlyFlags = MountFlag.remount + MountFlag.bind + MountFlag.readOnly + tmpfsFlags;
const writableFlags = MountFlag.remount + MountFlag.bind + tmpfsFlags;
/** Folders in which everybody may make files: a cover of one stays writable, and what is made there is COMMAND's alone. */
const STICKY = 0o1000;

/** What a mount point is for. */
export type MountPointKind = 'directory' | 'file';

interface Cover {
  readonly device: number;
  readonly writable: boolean;
}

/**
 * Makes mount points that this machine does not have, in this mount namespace only. The nearest folder that is there gets a cover: a tmpfs in which
 * its sub-folders are bound, its files are links to the machine's own (a file that others replace is seen) and its links are copied as they are. A
 * cover is read-only, so that new files beside the mount point fail rather than get lost; what was there can be changed as before.
 */
export class Covers {
  readonly #staging: string;
  readonly #covers = new Map<string, Cover>();

  /** `staging`: an empty folder in a cover of `/etc`, on which covers are made before they are moved into place. */
  constructor(staging: string) {
    this.#staging = staging;
    this.#covers.set('/etc', { device: statSync('/etc').dev, writable: false });
  }

  /**
   * The real path of a mount point, made where it is missing. `inVolume` makes it where the nearest folder that is there belongs to a volume, and
   * answers whether it did. Throws an Error that says why it cannot be had.
   */
  mountPoint(path: string, kind: MountPointKind, inVolume: (folder: string, rest: string) => boolean): string {
    const { folder, rest } = nearest(path);
    if (rest === '') {
      const isDirectory = statSync(folder).isDirectory();
      if (isDirectory !== (kind === 'directory')) throw new Error(`it is a ${isDirectory ? 'folder' : 'file'} on this machine`);
      return folder;
    }
    if (!statSync(folder).isDirectory()) throw new Error(`${folder} is a file on this machine`);
    const target = join(folder, rest);
    if (!inVolume(folder, rest)) this.#inCover(folder, () => makeEmpty(target, kind));
    return target;
  }

  #inCover(folder: string, make: () => void): void {
    const existing = this.#coverOf(folder);
    const [place, { writable }] = existing ?? [folder, this.#cover(folder)];
    if (!writable) mount('none', place, undefined, writableFlags);
    make();
    if (!writable) mount('none', place, undefined, readOnlyFlags);
  }

  #coverOf(folder: string): [string, Cover] | undefined {
    const { dev } = statSync(folder);
    return [...this.#covers].find(([, { device }]) => device === dev);
  }

  #cover(folder: string): Cover {
    const { mode } = statSync(folder);
    const staging = this.#staging;
    mount('kpeering', staging, 'tmpfs', tmpfsFlags, `mode=${(mode & 0o7777).toString(8)}`);
    try {
      if (folder === '/') {
        fillRoot(staging);
        pivotRoot(staging, join(staging, staging));
        // Whatever was in the old tree is bound in the new one, or gone.
        process.chdir('/');
        detach(staging);
      } else {
        fill(folder, staging);
        mount(staging, folder, undefined, MountFlag.move);
      }
    } catch (error) {
      detachIfThere(staging);
      throw error;
    }
    const cover = { device: statSync(folder).dev, writable: (mode & STICKY) !== 0 };
    this.#covers.set(folder, cover);
    return cover;
  }
}

/**
 * Covers `folder` (see {@link Covers}) with the text files `own` in place of those that it has, and the empty folders `folders`. `staging` is any
 * other folder that is always there.
 */
export function coverFolder(
  folder: string,
  { staging, own, folders }: { readonly staging: string; readonly own: ReadonlyMap<string, string>; readonly folders: readonly string[] },
): void {
  mount('kpeering', staging, 'tmpfs', tmpfsFlags, 'mode=0755');
  fill(folder, staging, new Set(own.keys()));
  for (const name of folders) mkdirSync(join(staging, name));
  for (const [name, text] of own) writeFileSync(join(staging, name), text, { mode: 0o644 });
  mount(staging, folder, undefined, MountFlag.move);
  mount('none', folder, undefined, readOnlyFlags);
}

function fill(folder: string, into: string, except: ReadonlySet<string> = new Set()): void {
  mkdirSync(join(into, original));
  mount(folder, join(into, original), undefined, MountFlag.bind + MountFlag.recursive);
  for (const entry of entriesOf(folder)) {
    if (except.has(entry.name)) continue;
    const target = join(into, entry.name);
    if (entry.isSymbolicLink()) symlinkSync(readlinkSync(join(folder, entry.name)), target);
    else if (entry.isDirectory()) bindFolder(join(folder, entry.name), target);
    else symlinkSync(join(original, entry.name), target);
  }
}

/** The root's files are bound, too: a folder with the old root would show everything twice. */
function fillRoot(into: string): void {
  for (const entry of entriesOf('/')) {
    const source = join('/', entry.name);
    const target = join(into, entry.name);
    if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), target);
    else if (entry.isDirectory()) bindFolder(source, target);
    else {
      writeFileSync(target, '');
      mount(source, target, undefined, MountFlag.bind);
    }
  }
  // The new root itself has come along with /etc.
  detachIfThere(join(into, into));
}

function bindFolder(source: string, target: string): void {
  mkdirSync(target);
  try {
    mount(source, target, undefined, MountFlag.bind + MountFlag.recursive);
  } catch (error) {
    // It went meanwhile, or only others may look into it, who cannot be in here: an empty folder says as little.
    if (!['ENOENT', 'EACCES'].includes(systemCode(error) ?? '')) throw error;
  }
}

/** None for a folder that may not be read: what is in it could not be opened before, either. */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (systemCode(error) === 'EACCES') return [];
    throw error;
  }
}

function detachIfThere(path: string): void {
  try {
    detach(path);
  } catch {
    // It is no mount.
  }
}

/** Makes an empty folder or file with all folders above it that are missing. */
export function makeEmpty(path: string, kind: MountPointKind): void {
  mkdirSync(kind === 'directory' ? path : dirname(path), { recursive: true, mode: 0o755 });
  if (kind === 'file') writeFileSync(path, '', { flag: 'a', mode: 0o644 });
}

/** The real path of the longest part of `path` that is there, and what is missing. Throws an Error for a link that leads nowhere. */
function nearest(path: string): { readonly folder: string; readonly rest: string } {
  let rest = '';
  for (let part = path.replace(/\/+$/, '') || '/'; ; part = dirname(part)) {
    try {
      return { folder: realpathSync(part), rest };
    } catch (error) {
      const code = systemCode(error);
      if (code === 'ENOENT' && isLink(part)) throw new Error(`${part} is a link that leads nowhere on this machine`, { cause: error });
      if (!['ENOENT', 'ENOTDIR', 'EACCES'].includes(code ?? '')) throw error;
      rest = join(basename(part), rest);
    }
  }
}

function isLink(path: string): boolean {
  try {
    readlinkSync(path);
    return true;
  } catch {
    return false;
  }
}
