import { mkdirSync, readdirSync, readFileSync, readlinkSync, existsSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { MountFlag, mount } from '../platform/namespaces.ts';
import { nameServiceSwitch } from '../simulator/network/inside/files.ts';

const tmpfsFlags = MountFlag.noSetuid + MountFlag.noDevices;

/** Whether a folder may be hidden by a mount: it exists, and nothing that the lab or its programs need is in it. */
export function mayCover(folder: string, needed: readonly string[]): boolean {
  return existsSync(folder) && !needed.some((path) => path === folder || path.startsWith(`${folder}${sep}`));
}

/** Paths that must stay visible whatever is mounted. */
export function neededPaths(more: readonly string[]): string[] {
  return [process.execPath, import.meta.filename, process.cwd(), homedir(), tmpdir(), ...more];
}

/**
 * Mounts the lab's own file system over a folder that every machine has and nobody misses, and answers with that
 * folder. It exists in the lab's mount namespace only, and is gone with it.
 */
export function mountWorkspace(needed: readonly string[]): string {
  const folder = ['/dev/shm', '/mnt', '/media', '/srv', '/opt', '/run'].find((candidate) => mayCover(candidate, needed));
  if (folder === undefined) throw new Error('no folder for the lab: all candidates are in use');
  mount('kpeering-lab', folder, 'tmpfs', tmpfsFlags, 'mode=0755');
  return folder;
}

/** Name, inside the private /etc, of the folder that shows the machine's own. */
const original = '.machine';
const own = new Set(['resolv.conf', 'nsswitch.conf', 'hosts', 'hostname']);

/**
 * Gives the lab's mount namespace an /etc in which the files about names are plain files, so that each host of the
 * lab can have its own by a bind mount. All else is the machine's: folders are bound, files are links.
 */
export function coverEtc(workspace: string): void {
  const staging = join(workspace, 'etc');
  mkdirSync(join(staging, original), { recursive: true });
  // A mount of its own: what is moved over /etc must be one.
  mount('kpeering-lab', staging, 'tmpfs', tmpfsFlags, 'mode=0755');
  mkdirSync(join(staging, original));
  mount('/etc', join(staging, original), undefined, MountFlag.bind + MountFlag.recursive);
  for (const entry of readdirSync('/etc', { withFileTypes: true })) {
    if (own.has(entry.name)) continue;
    const target = join(staging, entry.name);
    if (entry.isSymbolicLink()) symlinkSync(readlinkSync(join('/etc', entry.name)), target);
    else if (entry.isDirectory()) {
      mkdirSync(target);
      mount(join('/etc', entry.name), target, undefined, MountFlag.bind + MountFlag.recursive);
    } else symlinkSync(join(original, entry.name), target);
  }
  const texts = {
    'resolv.conf': 'nameserver 127.0.0.1\n',
    'nsswitch.conf': nameServiceSwitch(textOf('/etc/nsswitch.conf')),
    hosts: hostsFile([]),
    hostname: 'lab\n',
  };
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(staging, name), text);
  mount(staging, '/etc', undefined, MountFlag.move);
}

/** hosts(5) with loopback and more lines: `[address, ...names]`. */
export function hostsFile(lines: readonly (readonly string[])[]): string {
  return [['127.0.0.1', 'localhost'], ['::1', 'localhost', 'ip6-localhost', 'ip6-loopback'], ...lines]
    .map((line) => `${line.join('\t')}\n`)
    .join('');
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
