import { lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure } from './errors.ts';

/**
 * The folder of this user's sockets: `$XDG_RUNTIME_DIR/kpctl`, else `kpctl-UID` in the folder for temporary
 * files, mode 0700. It is made when missing. A folder of that name that belongs to somebody else is refused,
 * because the folder for temporary files is shared.
 */
export function runtimeDirectory(): string {
  const base = process.env['XDG_RUNTIME_DIR'];
  const uid = process.getuid?.() ?? 0; // userInfo() fails for a uid without a passwd entry
  const path = base !== undefined && base !== '' && isOwnedBy(base, uid) ? join(base, 'kpctl') : join(tmpdir(), `kpctl-${uid}`);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const status = lstatSync(path);
  if (!status.isDirectory() || (process.platform !== 'win32' && status.uid !== uid)) {
    throw new Failure('RUNTIME_DIRECTORY_FOREIGN', `${path} does not belong to this user`, {
      likely: 'somebody else made it first',
      remedy: 'set XDG_RUNTIME_DIR to a folder of your own',
    });
  }
  return path;
}

function isOwnedBy(path: string, uid: number): boolean {
  try {
    return lstatSync(path).uid === uid;
  } catch {
    return false;
  }
}
