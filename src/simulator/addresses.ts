import { BlockList, isIP, isIPv6 } from 'node:net';
import { nodes, pods, serviceCidrs } from '../cluster/resources.ts';
import type { Node, Pod, ServiceCidr } from '../cluster/resources.ts';
import type { Cluster, KubeObject, Resource, Watch } from '../cluster/types.ts';
import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import { canonicalAddress } from './dns/records.ts';
import type { RecordSource } from './dns/records.ts';

/** Ranges in CIDR notation, either family; what is none is passed over. */
export class AddressRanges {
  private list = new BlockList();
  private cidrs: readonly string[] = [];

  get known(): readonly string[] {
    return this.cidrs;
  }

  /** Replaces all ranges (a BlockList cannot forget one). */
  set(cidrs: Iterable<string>): void {
    const list = new BlockList();
    const taken: string[] = [];
    for (const cidr of new Set(cidrs)) {
      const [address = '', prefix = ''] = cidr.split('/', 2);
      const family = isIP(address);
      const bits = Number(prefix);
      // A /0 would take the whole internet; nobody's cluster is that.
      if (family === 0 || !Number.isInteger(bits) || bits < 1 || bits > (family === 6 ? 128 : 32)) continue;
      list.addSubnet(address, bits, family === 6 ? 'ipv6' : 'ipv4');
      taken.push(cidr);
    }
    this.list = list;
    this.cidrs = taken;
  }

  contains(address: string): boolean {
    return this.cidrs.length > 0 && this.list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }
}

export interface ClusterAddressesOptions {
  readonly cluster: Pick<Cluster, 'watch'>;
  readonly records: RecordSource;
  /** The namespace whose pods are watched where nodes do not tell the pods' ranges. */
  readonly namespace: string;
  readonly log: Logger;
}

/** Which destinations are the cluster's. */
export interface ClusterAddresses extends Closeable {
  /** Whether an address is a Service's or a pod's. */
  contains(address: string): boolean;
  /** The ranges known from ServiceCIDRs and nodes, for messages. */
  readonly ranges: readonly string[];
}

/**
 * Knows the cluster's addresses, never by guessing: the ranges of ServiceCIDR objects (Kubernetes 1.33) and of the
 * nodes' podCIDRs where the user may read those, and in any case the very addresses of the Services and endpoints in
 * `records`; where the nodes' ranges are not to be had (no right, or a network that does not use them) also those of
 * the pods in `namespace`. The endpoints of `default/kubernetes` are not among them: they are the API server's own
 * addresses, outside the cluster's network, and what reached them before kpctl must reach them as before.
 * Resolves when the first lists are there; what cannot be read is left out, and logged. Pods with hostNetwork count
 * only as endpoints.
 */
export async function watchClusterAddresses(options: ClusterAddressesOptions): Promise<ClusterAddresses> {
  const { cluster, records, log } = options;
  const ranges = new AddressRanges();
  const podAddresses = new AddressCount();
  const watches: Closeable[] = [];
  let closing: Promise<void> | undefined;

  /** The watch once it is synced, or undefined where the user may not, or the server does not have such objects. */
  async function attempt<T extends KubeObject>(resource: Resource<T>, namespace?: string): Promise<Watch<T> | undefined> {
    const watch = cluster.watch(resource, namespace === undefined ? {} : { namespace });
    try {
      await watch.synced;
      watches.push(watch);
      return watch;
    } catch (error) {
      log.debug({ kind: resource.kind, reason: messageOf(error) }, 'cluster addresses: a kind of object cannot be watched');
      await watch.close();
      return undefined;
    }
  }

  const [services, machines] = await Promise.all([attempt<ServiceCidr>(serviceCidrs), attempt<Node>(nodes)]);
  const refresh = (): void => {
    ranges.set([
      ...[...(services?.items.values() ?? [])].flatMap(({ spec }) => spec.cidrs),
      ...[...(machines?.items.values() ?? [])].flatMap((node) => nodeRanges(node)),
    ]);
  };
  services?.onChange(refresh);
  machines?.onChange(refresh);
  refresh();

  const ranged =
    machines !== undefined && machines.items.size > 0 && [...machines.items.values()].every((node) => nodeRanges(node).length > 0);
  const present = ranged ? undefined : await attempt<Pod>(pods, options.namespace);
  for (const pod of present?.items.values() ?? []) podAddresses.change(podIPs(pod), 1);
  present?.onChange((event) => {
    const previous = event.type === 'set' ? event.previous : event.object;
    if (previous !== undefined) podAddresses.change(podIPs(previous), -1);
    if (event.type === 'set') podAddresses.change(podIPs(event.object), 1);
  });

  function contains(address: string): boolean {
    const plain = canonicalAddress(address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address);
    if (isIP(plain) === 0) return false;
    if (ranges.contains(plain) || podAddresses.has(plain)) return true;
    for (const _ of records.servicesAt(plain)) return true;
    for (const { namespace, service } of records.slicesAt(plain)) if (namespace !== 'default' || service !== 'kubernetes') return true;
    return false;
  }

  async function close(): Promise<void> {
    await Promise.allSettled(watches.map((watch) => watch.close()));
  }

  return {
    contains,
    get ranges() {
      return ranges.known;
    },
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: () => (closing ??= close()),
  };
}

/** How many pods have each address: a successor may take it before its predecessor is gone. */
class AddressCount {
  private readonly counts = new Map<string, number>();

  has(address: string): boolean {
    return this.counts.has(address);
  }

  change(addresses: readonly string[], step: 1 | -1): void {
    for (const address of addresses) {
      const count = (this.counts.get(address) ?? 0) + step;
      if (count > 0) this.counts.set(address, count);
      else this.counts.delete(address);
    }
  }
}

function nodeRanges({ spec }: Node): readonly string[] {
  if (spec.podCIDRs.length > 0) return spec.podCIDRs;
  return spec.podCIDR === undefined ? [] : [spec.podCIDR];
}

function podIPs({ spec, status }: Pod): readonly string[] {
  if (spec.hostNetwork === true) return [];
  const { podIP } = status;
  const listed = status.podIPs.map(({ ip }) => canonicalAddress(ip));
  return listed.length === 0 && podIP !== undefined ? [canonicalAddress(podIP)] : listed;
}
