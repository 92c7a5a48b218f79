import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MountFlag, mount } from '../../../platform/namespaces.ts';
import { coverFolder } from './covers.ts';

/** Any folder that is always there: the new /etc is made on top of it and then moved away. */
const staging = '/tmp';
/** An empty folder of the private /etc, for what is mounted later. */
export const laterStaging = '/etc/.kpeering-staging';
const tmpfsFlags = MountFlag.noSetuid + MountFlag.noDevices;

/**
 * Gives this mount namespace an /etc of its own in which only `resolv.conf` and `nsswitch.conf` differ. A bind mount
 * of a file would vanish when the machine replaces that file, so the folder itself is covered. It is read-only, so that root's changes fail
 * rather than get lost.
 */
export function coverEtc(resolvConf: string): void {
  const own = new Map([
    ['resolv.conf', resolvConf],
    ['nsswitch.conf', nameServiceSwitch(readIfThere('/etc/nsswitch.conf'))],
  ]);
  coverFolder('/etc', { staging, own, folders: [laterStaging.slice('/etc/'.length)] });
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
