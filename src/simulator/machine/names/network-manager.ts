import { randomUUID } from 'node:crypto';
import { rmSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Closeable } from '../../../platform/owned.ts';
import type { Endpoint } from '../../../tunnel/types.ts';
import type { NamesPlan } from '../types.ts';
import { bootId, describeLink } from './link.ts';
import { sameOwn } from './own-servers.ts';
import { putText, readOriginal } from './replaced-file.ts';
import { parseResolvConf } from './resolv-conf-text.ts';
import { attempt, run } from './run.ts';
import { dnsManager, property, readText, resolvConfPath } from './surroundings.ts';
import type { Integration, IntegrationContext, OwnNames } from './types.ts';
import { watchChanges } from './watch.ts';

export const networkManagerKey = 'names/network-manager';

/** Its device: NetworkManager makes it with the connection. Where the kernel has no dummy device, a pair. */
const device = 'kpctl-nm';
const peer = 'kpctl-nm-p';
/** The IPv4 dummy address (RFC 7600): nobody's, and no route leads to it. */
const deviceAddress = '192.0.0.8/32';
/** NetworkManager writes both at every change of a connection, even when nothing in them changes. */
const written = ['/run/NetworkManager/no-stub-resolv.conf', '/run/NetworkManager/resolv.conf'] as const;

/** The journal's entry: what an undo needs when NetworkManager itself has gone. */
export interface Profile {
  readonly uuid: string;
  readonly boot: string;
  readonly nameserver: string;
  readonly own: OwnNames;
}

/**
 * A connection profile that is never saved to disk, with a device of its own, whose priority makes its server the only one in resolv.conf. The
 * other connections are not touched, and NetworkManager goes on telling their servers. (`dns=default`.)
 */
export class NetworkManagerIntegration implements Integration {
  readonly kind = 'network-manager';
  readonly #context: IntegrationContext;
  #plan: NamesPlan | undefined;
  #profile: Profile | undefined;
  #own: OwnNames = { servers: [], search: [] };
  #watch: Closeable | undefined;
  #seen = '';

  constructor(context: IntegrationContext) {
    this.#context = context;
  }

  detect(): boolean {
    return this.#context.listeners.address.port === 53;
  }

  async apply(plan: NamesPlan): Promise<OwnNames> {
    if ((await describeLink(device)) !== undefined) throw new Error(`there is a device ${device} already`);
    this.#plan = plan;
    this.#own = (await this.#read()) ?? this.#own;
    const dummy = await this.#add(plan, ['type', 'dummy']);
    // Small kernels have no dummy device.
    if (dummy !== undefined) {
      const pair = await this.#add(plan, ['type', 'veth', 'veth.peer', peer]);
      if (pair !== undefined) throw new Error(`${dummy}; ${pair}`);
      await attempt('nmcli', ['device', 'set', peer, 'managed', 'no']);
    }
    // A [global-dns] section of its configuration is above all connections.
    if (!this.#inForce()) throw new Error('NetworkManager does not use the server of our connection');
    this.#seen = changes();
    this.#watch = watchChanges({
      files: [...written, resolvConfPath],
      check: () => this.#check(),
      onError: (error) => this.#context.log.warn({ err: error }, 'our connection of NetworkManager could not be looked after'),
    });
    return this.#own;
  }

  async update(plan: NamesPlan): Promise<void> {
    this.#plan = plan;
    await this.#modify(plan);
  }

  async undo(): Promise<void> {
    const watch = this.#watch;
    this.#watch = undefined;
    await watch?.close();
    this.#plan = undefined;
    if (this.#profile !== undefined) await undoProfile(this.#profile);
    this.#profile = undefined;
    this.#context.journal.delete(networkManagerKey);
  }

  /** Adds the connection and brings it up; answers why not. */
  async #add(plan: NamesPlan, type: readonly string[]): Promise<string | undefined> {
    this.#profile = { uuid: randomUUID(), boot: bootId(), nameserver: this.#context.listeners.address.address, own: this.#own };
    const { uuid } = this.#profile;
    this.#context.journal.set(networkManagerKey, this.#profile);
    const identity = ['ifname', device, 'con-name', device, 'connection.uuid', uuid, 'connection.autoconnect', 'no'];
    const addresses = ['ipv4.method', 'manual', 'ipv4.addresses', deviceAddress, 'ipv4.never-default', 'yes', 'ipv6.method', 'disabled'];
    const words = ['connection', 'add', 'save', 'no', ...type, ...identity, ...addresses, ...this.#settings(plan)];
    const added = await attempt('nmcli', words);
    const up = added.code === 0 ? await attempt('nmcli', ['--wait', '8', 'connection', 'up', 'uuid', uuid], 10_000) : added;
    if (up.code === 0) return undefined;
    await undoProfile(this.#profile);
    return up.stderr;
  }

  #settings(plan: NamesPlan): string[] {
    const { address } = this.#context.listeners.address;
    // A negative priority leaves the servers of all connections with a higher one out, and their search domains.
    const search = [...new Set([...plan.search, ...this.#own.search])];
    return ['ipv4.dns', address, 'ipv4.dns-options', 'ndots:5', 'ipv4.dns-priority', '-1200', 'ipv4.dns-search', search.join(',')];
  }

  async #modify(plan: NamesPlan): Promise<void> {
    if (this.#profile === undefined) return;
    this.#context.journal.set(networkManagerKey, (this.#profile = { ...this.#profile, own: this.#own }));
    await run('nmcli', ['connection', 'modify', '--temporary', 'uuid', this.#profile.uuid, ...this.#settings(plan)]);
    await run('nmcli', ['device', 'reapply', device]);
  }

  #inForce(): boolean {
    return parseResolvConf(readText(resolvConfPath) ?? '').nameservers[0] === this.#context.listeners.address.address;
  }

  async #read(): Promise<OwnNames | undefined> {
    return ownOfConnections(await property('org.freedesktop.NetworkManager', ...dnsManager, 'Configuration'));
  }

  async #check(): Promise<void> {
    const [plan, profile] = [this.#plan, this.#profile];
    if (plan === undefined || profile === undefined) return;
    const now = changes();
    if (now !== this.#seen) {
      this.#seen = now;
      const own = await this.#read();
      if (own !== undefined && own.servers.length > 0 && !sameOwn(own, this.#own)) {
        this.#own = own;
        this.#context.onOwn(own);
        await this.#modify(plan);
        this.#seen = changes();
      }
    }
    if (this.#inForce()) return;
    this.#context.log.info('NetworkManager does not use our connection any more: brought up again');
    const { code, stderr } = await attempt('nmcli', ['--wait', '8', 'connection', 'up', 'uuid', profile.uuid], 10_000);
    if (code !== 0) this.#context.log.warn({ reason: stderr }, 'our connection of NetworkManager could not be brought up again');
  }
}

/** Differs after each writing of NetworkManager's. */
function changes(): string {
  return written.map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0).join(' ');
}

/**
 * The machine's servers by NetworkManager's `Configuration`: an array of `{ nameservers, domains, interface, priority }`, each `{ type, data }`, by
 * rising priority. Undefined for what is none.
 */
export function ownOfConnections(configuration: unknown): OwnNames | undefined {
  if (!Array.isArray(configuration)) return undefined;
  const entries = configuration.map((entry: unknown) => ({
    nameservers: strings(field(entry, 'nameservers')),
    domains: strings(field(entry, 'domains')),
    device: field(entry, 'interface'),
    priority: Number(field(entry, 'priority') ?? 0),
  }));
  const others = entries.filter((entry) => entry.device !== device && entry.nameservers.length > 0);
  const least = Math.min(...others.map(({ priority }) => priority));
  const asked = least < 0 ? others.filter(({ priority }) => priority === least) : others;
  const servers = [...new Set(asked.flatMap(({ nameservers }) => nameservers.map(addressOf)))].filter((address) => isIP(address) !== 0);
  const search = [...new Set(asked.flatMap(({ domains }) => domains))].filter((domain) => domain !== '' && !domain.startsWith('~'));
  return { servers: servers.map((address): Endpoint => ({ address, port: 53 })), search };
}

/** `dns+tls://1.1.1.1#one.one.one.one` has an address in it. */
function addressOf(text: string): string {
  return text.replace(/^[a-z+]+:\/\//, '').replace(/#.*$/, '');
}

function field(entry: unknown, name: string): unknown {
  if (typeof entry !== 'object' || entry === null) return undefined;
  const found = Object.entries(entry).find(([key]) => key === name)?.[1] as unknown;
  return typeof found === 'object' && found !== null && 'data' in found ? found.data : undefined;
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : [];
}

/** Removes the connection with its device. Answers what was done, for a user; undefined when there was nothing. */
export async function undoProfile({ uuid, boot, nameserver, own }: Profile): Promise<string | undefined> {
  const deleted = await attempt('nmcli', ['connection', 'delete', 'uuid', uuid]);
  const here = boot === bootId();
  // NetworkManager removes a dummy device, and leaves a pair.
  const left = here && (await describeLink(device)) !== undefined;
  if (left) await attempt('ip', ['link', 'delete', device]);
  if (deleted.code === 0) return "kpctl's connection of NetworkManager is removed";
  const profile = `/run/NetworkManager/system-connections/${device}.nmconnection`;
  if (readText(profile)?.includes(uuid) === true) rmSync(profile, { force: true });
  // It has ended, and what it wrote last names us: it will write anew when it starts.
  const conf = parseResolvConf(readText(resolvConfPath) ?? '');
  if (!conf.nameservers.includes(nameserver) || own.servers.length === 0) return left ? `the device ${device} is removed` : undefined;
  const lines = own.servers.map(({ address }) => `nameserver ${address}`);
  const search = own.search.length === 0 ? [] : [`search ${own.search.join(' ')}`];
  const path = readOriginal(resolvConfPath).kind === 'link' ? '/run/NetworkManager/resolv.conf' : resolvConfPath;
  putText({ path, how: 'replace' }, `# Generated by NetworkManager\n${[...search, ...lines].join('\n')}\n`);
  return `${resolvConfPath} has this machine's own servers again`;
}
