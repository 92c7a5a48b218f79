import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Failure } from './errors.ts';

/**
 * Absolute path of a system program, looked up in `PATH` and then in the sbin folders that an ordinary
 * user's `PATH` lacks. Folders of `node_modules` are passed over: npm puts them first, and one of our
 * development dependencies installs an unrelated `nft` there.
 */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  for (const folder of folders) {
    if (folder === '' || folder.includes('node_modules')) continue;
    const path = join(folder, name);
    if (isExecutableFile(path)) return path;
  }
  return undefined;
}

/** Like {@link findProgram}, and a Failure that names the Debian package when there is none. */
export function requireProgram(name: string, debianPackage: string): string {
  const path = findProgram(name);
  if (path !== undefined) return path;
  throw new Failure('PROGRAM_MISSING', `the program ${name} is not installed`, {
    remedy: `install it, on Debian or Ubuntu: sudo apt-get install ${debianPackage}`,
  });
}

function isExecutableFile(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
