import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { systemCode } from '../../../platform/errors.ts';
import type { WrittenFile } from '../messages.ts';

const dataLink = '..data';
const newDataLink = '..data_tmp';

/**
 * Makes `folder` hold exactly these files, all at once, as the kubelet does (pkg/volume/util/atomic_writer.go): they are written into a folder with the
 * time in its name, to which the link `..data` is then moved; what programs open are links through that one. The folder before is removed unless `keep`:
 * parts of it may be mounted.
 */
export function writeAtomically(folder: string, files: readonly WrittenFile[], keep: boolean): void {
  const before = linkTarget(join(folder, dataLink));
  const written = mkdtempSync(join(folder, `..${timestamp(new Date())}.`));
  chmodSync(written, 0o755);
  for (const { path, mode, content } of files) {
    const target = join(written, path);
    mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
    writeFileSync(target, Buffer.from(content, 'base64'), { mode: 0o600 });
    // Not by its creation: that is subject to the umask.
    chmodSync(target, mode);
  }
  symlinkSync(basename(written), join(folder, newDataLink));
  renameSync(join(folder, newDataLink), join(folder, dataLink));
  const names = new Set(files.map(({ path }) => path.split('/')[0] ?? path));
  for (const name of names) linkIfMissing(join(dataLink, name), join(folder, name));
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const ours = entry.isSymbolicLink() && linkTarget(join(folder, entry.name)) === join(dataLink, entry.name);
    if (ours && !names.has(entry.name)) rmSync(join(folder, entry.name));
  }
  if (before !== undefined && !keep) rmSync(join(folder, before), { recursive: true, force: true });
}

function linkIfMissing(target: string, path: string): void {
  try {
    symlinkSync(target, path);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** `2026_11_21_23_00_59`, in UTC. */
function timestamp(date: Date): string {
  return date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '_');
}
