import { chmodSync, closeSync, constants, mkdirSync, openSync, realpathSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { messageOf } from '../../../platform/errors.ts';
import { MountFlag, detach, mount } from '../../../platform/namespaces.ts';
import type { MountedVolume, VolumeMountRequest, WrittenFile } from '../messages.ts';
import { writeAtomically } from './atomic-writer.ts';
import { Covers, makeEmpty } from './covers.ts';

const flags = MountFlag.noSetuid + MountFlag.noDevices;
const readOnlyFlags = MountFlag.remount + MountFlag.bind + MountFlag.readOnly + flags;

export interface VolumesRequest {
  readonly volumes: readonly MountedVolume[];
  /** Parents before what is nested in them. */
  readonly mounts: readonly VolumeMountRequest[];
  /** Paths that must stay what they are: a mount that would hide one of them is left out. */
  readonly keepVisible: readonly string[];
}

interface Bound {
  readonly target: string;
  /** Where in the tmpfs it comes from. */
  readonly source: string;
}

/**
 * The pod's volumes at their own paths, in this mount namespace. Their files are on one tmpfs, which no path leads to once they are mounted: only
 * this process still has it, by a descriptor, and renews the files through that.
 */
export class Volumes {
  readonly #descriptor: number;
  readonly #shared: ReadonlySet<string>;
  /** What could not be mounted, and why: a sentence each. */
  readonly problems: readonly string[];

  /** Mounts all, `staging` being an empty folder of the private /etc. Throws when the tmpfs cannot be had. */
  constructor({ volumes, mounts, keepVisible }: VolumesRequest, staging: string) {
    const covers = new Covers(staging);
    const problems: string[] = [];
    const protectedPaths = keepVisible.map((path) => realPath(path));
    // Covers are made on the same folder, so all mount points come first; those in volumes are made in the volumes' own folders, later.
    const planned = mounts.flatMap((wanted) => {
      const problem = hides(wanted.path, protectedPaths);
      if (problem === undefined) return [wanted];
      problems.push(`volume ${wanted.volume} is not mounted at ${wanted.path}: it would hide ${problem}`);
      return [];
    });
    const home = join(staging, 'volumes');
    const kinds = new Map(planned.map((wanted) => [wanted, kindOf(wanted, volumes)]));
    const inside = new Map<VolumeMountRequest, string>();
    const targets = new Map<VolumeMountRequest, string>();
    for (const wanted of planned) {
      try {
        const parent = planned.findLast((other) => targets.has(other) && isBelow(wanted.path, other.path));
        if (parent !== undefined) {
          inside.set(wanted, relative(parent.path, wanted.path));
          targets.set(wanted, join(targets.get(parent) ?? '', relative(parent.path, wanted.path)));
        } else
          targets.set(
            wanted,
            covers.mountPoint(wanted.path, kinds.get(wanted) ?? 'directory', () => false),
          );
      } catch (error) {
        problems.push(`volume ${wanted.volume} is not mounted at ${wanted.path}: ${messageOf(error)}`);
      }
    }
    mountTmpfs(staging);
    try {
      mkdirSync(home, { mode: 0o755 });
      this.#shared = new Set(planned.filter(({ subPath }) => subPath !== '').map(({ volume }) => volume));
      for (const volume of volumes) fillVolume(join(home, volume.name), volume);
      const bound: Bound[] = [];
      for (const wanted of planned) {
        const target = targets.get(wanted);
        if (target === undefined) continue;
        try {
          const source = sourceOf(join(home, wanted.volume), wanted.subPath);
          if (inside.has(wanted)) makeInVolume(target, source, bound);
          mount(source, target, undefined, MountFlag.bind);
          if (wanted.readOnly) mount('none', target, undefined, readOnlyFlags);
          bound.push({ target, source });
        } catch (error) {
          problems.push(`volume ${wanted.volume} is not mounted at ${wanted.path}: ${messageOf(error)}`);
        }
      }
      this.#descriptor = openSync(home, constants.O_RDONLY | constants.O_DIRECTORY);
    } finally {
      detach(staging);
    }
    this.problems = problems;
  }

  /** Replaces a volume's files. What is mounted by a subPath stays as it is, as in a pod. */
  update(name: string, files: readonly WrittenFile[]): void {
    writeAtomically(join('/proc/self/fd', String(this.#descriptor), name), files, this.#shared.has(name));
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/** What is written there should not reach a disk; only root may ask that of the kernel, since Linux 6.4. */
function mountTmpfs(target: string): void {
  try {
    mount('kpeering', target, 'tmpfs', flags, 'mode=0755,noswap');
  } catch {
    mount('kpeering', target, 'tmpfs', flags, 'mode=0755');
  }
}

function fillVolume(folder: string, { files, mode }: MountedVolume): void {
  mkdirSync(folder);
  chmodSync(folder, mode);
  if (files !== undefined) writeAtomically(folder, files, true);
}

/** By what the subPath names in the volume's files: a file, or else a folder. */
function kindOf({ volume, subPath }: VolumeMountRequest, volumes: readonly MountedVolume[]): 'directory' | 'file' {
  const files = volumes.find(({ name }) => name === volume)?.files;
  return subPath !== '' && files?.some(({ path }) => path === subPath) === true ? 'file' : 'directory';
}

/** A subPath that the volume does not have is a new folder in it, as the kubelet makes it. */
function sourceOf(folder: string, subPath: string): string {
  if (subPath === '') return folder;
  const source = join(folder, subPath);
  try {
    return realpathSync(source);
  } catch {
    mkdirSync(source, { recursive: true });
    // As the volume's own folder is, whatever the umask.
    chmodSync(source, statSync(folder).mode & 0o777);
    return source;
  }
}

/** Makes a mount point in the volume that it is nested in, in the volume's own folder: its mount may be read-only. */
function makeInVolume(target: string, source: string, bound: readonly Bound[]): void {
  const parent = bound.findLast((one) => isBelow(target, one.target));
  if (parent === undefined) throw new Error('the volume that it is nested in is not mounted');
  makeEmpty(join(parent.source, relative(parent.target, target)), statSync(source).isDirectory() ? 'directory' : 'file');
}

function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** The first of `paths` that a mount at `path` would hide. */
function hides(path: string, paths: readonly string[]): string | undefined {
  const place = realPath(path);
  return paths.find((one) => one === place || isBelow(one, place));
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path.replace(/(.)\/+$/, '$1');
  }
}
