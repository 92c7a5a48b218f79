import { existsSync, lstatSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { systemCode } from '../../../platform/errors.ts';
import { findProgram } from '../../../platform/programs.ts';
import { attempt } from './run.ts';
import { parseResolvConf, type ResolvConf } from './resolv-conf-text.ts';

/** The file that libc reads. A constant of libc, too. */
export const resolvConfPath = '/etc/resolv.conf';

/** How this machine finds names, as far as one can see without a change. */
export interface Surroundings {
  /** What libc reads; empty where there is no such file. */
  readonly resolvConf: ResolvConf;
  readonly resolvConfText: string;
  /** What /etc/resolv.conf links to, as written; undefined where it is a file, or missing. */
  readonly link: string | undefined;
  /** The file behind the link, else /etc/resolv.conf itself. */
  readonly behind: string;
  /** systemd-resolved runs and answers on D-Bus. */
  readonly resolved: boolean;
  /** NetworkManager's own words for how it handles names: `default`, `dnsmasq`, `systemd-resolved`, `none`; undefined where it does not run. */
  readonly networkManager: { readonly mode: string; readonly rcManager: string } | undefined;
  /** The sources of `hosts` in /etc/nsswitch.conf, actions like `[NOTFOUND=return]` among them. */
  readonly hosts: readonly string[];
  /** resolvectl and nmcli are there. */
  readonly resolvectl: boolean;
  readonly nmcli: boolean;
}

export async function lookAround(): Promise<Surroundings> {
  const bus = existsSync('/run/dbus/system_bus_socket');
  const [resolved, mode, rcManager] = await Promise.all([
    bus && runsHere('org.freedesktop.resolve1'),
    bus ? property('org.freedesktop.NetworkManager', ...dnsManager, 'Mode') : undefined,
    bus ? property('org.freedesktop.NetworkManager', ...dnsManager, 'RcManager') : undefined,
  ]);
  const managed = typeof mode === 'string' && typeof rcManager === 'string' && (await runsHere('org.freedesktop.NetworkManager'));
  const resolvConfText = readText(resolvConfPath) ?? '';
  const link = linkOf(resolvConfPath);
  return {
    resolvConf: parseResolvConf(resolvConfText),
    resolvConfText,
    link,
    behind: behindOf(resolvConfPath),
    resolved,
    networkManager: managed ? { mode, rcManager } : undefined,
    hosts: hostsSources(readText('/etc/nsswitch.conf') ?? ''),
    resolvectl: findProgram('resolvectl') !== undefined,
    nmcli: findProgram('nmcli') !== undefined,
  };
}

export const dnsManager = ['/org/freedesktop/NetworkManager/DnsManager', 'org.freedesktop.NetworkManager.DnsManager'] as const;

/**
 * Whether a service of the system's D-Bus runs, in this network namespace: one elsewhere would take our device's number for one of its own
 * devices. It is not started: being installed is not being used.
 */
async function runsHere(service: string): Promise<boolean> {
  const words = [
    '--system',
    '--timeout=3',
    '--json=short',
    'call',
    'org.freedesktop.DBus',
    '/',
    'org.freedesktop.DBus',
    'GetConnectionUnixProcessID',
  ];
  const { code, stdout } = await attempt('busctl', [...words, 's', service]);
  const pid = code === 0 ? /"data":\[(\d+)\]/.exec(stdout)?.[1] : undefined;
  try {
    return pid !== undefined && readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net');
  } catch {
    return false;
  }
}

/** A property of a service on the system's D-Bus, as `busctl --json` gives it; undefined when there is no such service. It is not started. */
export async function property(service: string, path: string, face: string, name: string): Promise<unknown> {
  const words = ['--system', '--auto-start=no', '--timeout=3', '--json=short', 'get-property', service, path, face, name];
  const { code, stdout } = await attempt('busctl', words);
  if (code !== 0) return undefined;
  try {
    const value: unknown = JSON.parse(stdout);
    return typeof value === 'object' && value !== null && 'data' in value ? value.data : undefined;
  } catch {
    return undefined;
  }
}

/** The text, or undefined where there is none to read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EISDIR', 'EACCES'].includes(systemCode(error) ?? '')) return undefined;
    throw error;
  }
}

export function linkOf(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined;
  } catch {
    return undefined;
  }
}

export function behindOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // Missing, or a link that leads nowhere.
    return path;
  }
}

/** `hosts: files mdns4_minimal [NOTFOUND=return] dns` (nsswitch.conf(5)); libc's own default where there is no such line. */
export function hostsSources(text: string): readonly string[] {
  const line = /^\s*hosts:([^#\n]*)/m.exec(text)?.[1];
  return line === undefined ? ['dns', 'files'] : (line.match(/\[[^\]]*\]|\S+/g) ?? []);
}
