import { networkInterfaces } from 'node:os';
import type { Closeable } from '../../../platform/owned.ts';
import type { NamesPlan } from '../types.ts';
import { routedDomains } from './domains.ts';
import { linkIndex } from './link.ts';
import { ownNames, sameOwn } from './own-servers.ts';
import { parseResolvConf } from './resolv-conf-text.ts';
import { attempt, run } from './run.ts';
import { readText } from './surroundings.ts';
import type { Integration, IntegrationContext, OwnNames } from './types.ts';
import { watchChanges } from './watch.ts';

/** systemd-resolved writes there what it asks itself, whatever /etc/resolv.conf is. */
const uplinks = '/run/systemd/resolve/resolv.conf';
/** Its listener, for machines whose servers it does not tell (`FallbackDNS`). */
const stub = '127.0.0.53';

/** What a link has besides servers and domains; versions before 240 and 246 lack some. */
const settings = [
  ['default-route', 'no'],
  ['llmnr', 'no'],
  ['mdns', 'no'],
  ['dnssec', 'no'],
  ['dnsovertls', 'no'],
] as const;

/**
 * Our device carries our server, the cluster's domains and nothing else: systemd-resolved sends us names that end in those, and all others where it
 * did. It forgets a device's settings with the device, which ends with our process: there is nothing to journal.
 */
export class ResolvedIntegration implements Integration {
  readonly kind = 'systemd-resolved';
  readonly #context: IntegrationContext;
  #plan: NamesPlan | undefined;
  #index: string | undefined;
  #own: OwnNames = { servers: [], search: [] };
  #watch: Closeable | undefined;
  #left = 0;

  constructor(context: IntegrationContext) {
    this.#context = context;
  }

  detect(): boolean {
    return readText(uplinks) !== undefined;
  }

  async apply(plan: NamesPlan): Promise<OwnNames> {
    this.#plan = plan;
    this.#own = this.#read();
    await this.#set(plan);
    this.#watch = watchChanges({
      files: [uplinks],
      check: () => this.#check(),
      onError: (error) => this.#context.log.warn({ err: error }, 'the settings of systemd-resolved could not be looked after'),
    });
    return this.#own;
  }

  async update(plan: NamesPlan): Promise<void> {
    this.#plan = plan;
    await this.#set(plan);
  }

  async undo(): Promise<void> {
    const watch = this.#watch;
    this.#watch = undefined;
    await watch?.close();
    this.#plan = undefined;
    // The device is about to go, too; or is gone already.
    await attempt('resolvectl', ['revert', this.#context.device]);
    await flushCaches();
  }

  async #set(plan: NamesPlan): Promise<void> {
    const { address, port } = this.#context.listeners.address;
    const { device } = this.#context;
    this.#index = await linkIndex(device);
    const { search, routes, left } = routedDomains(plan);
    if (left > 0 && left !== this.#left) {
      this.#context.log.warn(
        { left },
        'systemd-resolved takes no more domains: names like svc.ns of some namespaces need .svc behind them',
      );
    }
    this.#left = left;
    await run('resolvectl', ['dns', device, port === 53 ? address : `${address}:${port}`]);
    await run('resolvectl', ['domain', device, ...search, ...routes.map((domain) => `~${domain}`)]);
    await Promise.all(
      settings.map(async ([name, value]) => {
        const { code, stderr } = await attempt('resolvectl', [name, device, value]);
        if (code !== 0) this.#context.log.debug({ name, reason: stderr }, 'systemd-resolved does not take a setting');
      }),
    );
    // What it was told before, that there is no such name, is no longer true.
    await flushCaches();
  }

  #read(): OwnNames {
    const conf = parseResolvConf(readText(uplinks) ?? '');
    const own = ownNames(conf, [this.#context.listeners.address.address], this.#plan?.search ?? []);
    const listed = conf.nameservers.length > 0 && own.servers.length > 0;
    return listed ? own : { ...own, servers: [{ address: stub, port: 53 }] };
  }

  async #check(): Promise<void> {
    const plan = this.#plan;
    if (plan === undefined) return;
    const own = this.#read();
    if (!sameOwn(own, this.#own)) {
      this.#own = own;
      this.#context.onOwn(own);
    }
    // A device that is down has no servers; when it is gone, so are we.
    if (networkInterfaces()[this.#context.device] === undefined) return;
    // Where it keeps a link's settings over its own restarts.
    const kept = readText(`/run/systemd/resolve/netif/${this.#index}`);
    if (kept?.includes(this.#context.listeners.address.address) === true) return;
    if (readText(uplinks) === undefined) return;
    this.#context.log.info('systemd-resolved has lost our settings: set again');
    await this.#set(plan);
  }
}

/** Answers of before a change of the settings. */
async function flushCaches(): Promise<void> {
  await attempt('resolvectl', ['flush-caches']);
}
