import { existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MountFlag, mount } from '../../../platform/namespaces.ts';

/** Name, inside the private /etc, of the folder that shows the machine's own. */
const original = '.kpeering';
/** Any folder that is always there: the new /etc is made on top of it and then moved away. */
const staging = '/tmp';
const tmpfsFlags = MountFlag.noSetuid + MountFlag.noDevices;

/**
 * Gives this mount namespace an /etc of its own in which only `resolv.conf` and `nsswitch.conf` differ. A bind mount
 * of a file would vanish when the machine replaces that file, so the folder itself is covered: its sub-folders are
 * bound, its files are links to the machine's own (a file that others replace is seen), its links are copied as they
 * are. It is read-only, so that root's changes fail rather than get lost.
 */
export function coverEtc(resolvConf: string): void {
  mount('kpeering', staging, 'tmpfs', tmpfsFlags, 'mode=0755');
  mkdirSync(join(staging, original));
  mount('/etc', join(staging, original), undefined, MountFlag.bind + MountFlag.recursive);
  const own = new Map([
    ['resolv.conf', resolvConf],
    ['nsswitch.conf', nameServiceSwitch(readIfThere('/etc/nsswitch.conf'))],
  ]);
  for (const entry of readdirSync('/etc', { withFileTypes: true })) {
    const target = join(staging, entry.name);
    if (own.has(entry.name)) continue;
    if (entry.isSymbolicLink()) symlinkSync(readlinkSync(join('/etc', entry.name)), target);
    else if (entry.isDirectory()) {
      mkdirSync(target);
      mount(join('/etc', entry.name), target, undefined, MountFlag.bind + MountFlag.recursive);
    } else symlinkSync(join(original, entry.name), target);
  }
  for (const [name, text] of own) writeFileSync(join(staging, name), text, { mode: 0o644 });
  mount(staging, '/etc', undefined, MountFlag.move);
  mount('none', '/etc', undefined, MountFlag.remount + MountFlag.bind + MountFlag.readOnly + tmpfsFlags);
}

/**
 * Hides the sockets by which name lookups leave the network: nscd's, and systemd-resolved's. UNIX sockets with a path
 * belong to the file system, not to a network namespace.
 */
export function coverNameServices(resolvConf: string): void {
  for (const folder of new Set(['/run/nscd', '/var/run/nscd'].filter((path) => existsSync(path)).map((path) => realpathSync(path)))) {
    mount('kpeering', folder, 'tmpfs', tmpfsFlags + MountFlag.readOnly, 'mode=0755');
  }
  const resolved = '/run/systemd/resolve';
  if (!existsSync(resolved)) return;
  mount('kpeering', resolved, 'tmpfs', tmpfsFlags, 'mode=0755');
  for (const name of ['resolv.conf', 'stub-resolv.conf']) writeFileSync(join(resolved, name), resolvConf, { mode: 0o644 });
}

/**
 * The text of nsswitch.conf(5) with `hosts` answered by files and DNS only: `resolve`, `mdns` and the like ask services
 * outside of the network. `myhostname` answers by itself and stays.
 */
export function nameServiceSwitch(text: string): string {
  const others = text.split('\n').filter((line) => !/^\s*hosts\s*:/.test(line));
  const hosts = text.split('\n').find((line) => /^\s*hosts\s*:/.test(line)) ?? '';
  const myhostname = /\bmyhostname\b/.test(hosts.replace(/#.*/, '')) ? ' myhostname' : '';
  return `${others.join('\n').trimEnd()}\nhosts: files${myhostname} dns\n`.replace(/^\n/, '');
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
