import { isIP } from 'node:net';
import { AddressSet, addressBits, formatCidr, parseCidr, type Cidr } from '../platform/cidr.ts';
import { Failure, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import { nodes, pods, serviceCidrs, type Node, type Pod, type ServiceCidr } from './resources.ts';
import type { Cluster, KubeObject, Resource, Watch } from './types.ts';

/** Where a network is known from: an object that tells a range, an object that has the address, or an answer of the cluster's own DNS. */
export type NetworkSource = 'ServiceCIDR' | 'Node' | 'Service' | 'EndpointSlice' | 'Pod' | 'DNS';

/** A range, or one address (/32, /128). */
export interface Network {
  /** As it is written, canonically. */
  readonly cidr: string;
  readonly source: NetworkSource;
}

/** The cluster's networks as they are known now. */
export interface NetworksFound {
  /** Ranges of ServiceCIDR objects first; then addresses of Services outside of them. */
  readonly services: readonly Network[];
  /** Ranges of Nodes first; then addresses of pods and endpoints outside of all ranges. */
  readonly pods: readonly Network[];
}

/** Addresses of Services and endpoints that somebody watches already (the resolver's records). */
export interface KnownAddresses {
  /** Cluster IPs. */
  services(): Iterable<string>;
  /** Addresses in EndpointSlices, without those of `default/kubernetes`: they are the API server's own. */
  endpoints(): Iterable<string>;
  /** Whether an address, written canonically, is among them. */
  has(address: string): boolean;
  /** Absent: they never change. */
  onChange?(listener: () => void): () => void;
}

export interface NetworksOptions {
  readonly cluster: Pick<Cluster, 'watch'>;
  readonly known: KnownAddresses;
  /** The namespace whose pods are watched where nodes do not tell the pods' ranges. */
  readonly namespace: string;
  readonly log: Logger;
}

/** The cluster's networks, kept current. */
export interface ClusterNetworks extends NetworksFound, Closeable {
  /** Whether an address is a Service's, a pod's or an endpoint's. */
  contains(address: string): boolean;
  /** Ranges of ServiceCIDRs and Nodes, for messages. */
  readonly ranges: readonly string[];
  /** A sentence for each source that has been asked: what it told, or why it could not. */
  readonly told: readonly string[];
  /**
   * Takes addresses that the cluster's own DNS has answered, for users who may not see the objects behind a name. At most 4096; the one learnt first
   * is forgotten first. Listeners are called before it returns if one is new.
   */
  learn(addresses: readonly string[]): void;
  /** Called after any change of `services` or `pods`; those of one moment come as one. Returns the function that unsubscribes. */
  onChange(listener: () => void): () => void;
}

const MOST_LEARNT = 4096;
/** Pods and endpoints come and go in crowds: changes within this time are told together. */
const TOGETHER_MILLISECONDS = 50;

/**
 * Knows the cluster's networks, never by guessing: the ranges of ServiceCIDR objects (Kubernetes 1.33) and of the nodes' podCIDRs where the user may
 * read those, and in any case the very addresses of the Services and endpoints that can be seen; where the nodes' ranges are not to be had (no right,
 * or a network that does not use them) also those of the pods in `namespace`. Pods with hostNetwork count only as endpoints.
 * Resolves when the first lists are there; what cannot be read is left out, and told.
 */
export async function watchNetworks(options: NetworksOptions): Promise<ClusterNetworks> {
  const { cluster, known, log } = options;
  const watches: Closeable[] = [];
  const listeners = new Set<() => void>();
  const podAddresses = new AddressCount();
  const learnt = new Set<string>();
  let ranges: { readonly services: readonly Cidr[]; readonly pods: readonly Cidr[]; readonly set: AddressSet };
  let found: NetworksFound | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closing: Promise<void> | undefined;

  /** The watch once it is synced, or why there is none: the user may not, or the server does not have such objects. */
  async function attempt<T extends KubeObject>(resource: Resource<T>, namespace?: string): Promise<Watch<T> | string> {
    const watch = cluster.watch(resource, namespace === undefined ? {} : { namespace });
    try {
      await watch.synced;
      watches.push(watch);
      return watch;
    } catch (error) {
      log.debug({ kind: resource.kind, reason: messageOf(error) }, 'cluster networks: a kind of object cannot be watched');
      await watch.close();
      return whyNot(error);
    }
  }

  const [cidrs, machines] = await Promise.all([attempt<ServiceCidr>(serviceCidrs), attempt<Node>(nodes)]);
  const readRanges = (): typeof ranges => {
    const services = (typeof cidrs === 'string' ? [] : [...cidrs.items.values()]).flatMap(({ spec }) => parsed(spec.cidrs));
    const ofPods = (typeof machines === 'string' ? [] : [...machines.items.values()]).flatMap((node) => parsed(nodeRanges(node)));
    return { services, pods: ofPods, set: new AddressSet([...services, ...ofPods]) };
  };
  ranges = readRanges();

  const ranged =
    typeof machines !== 'string' && machines.items.size > 0 && [...machines.items.values()].every((node) => nodeRanges(node).length > 0);
  const present = ranged ? undefined : await attempt<Pod>(pods, options.namespace);
  if (present !== undefined && typeof present !== 'string') {
    for (const pod of present.items.values()) podAddresses.change(podIPs(pod), 1);
    present.onChange((event) => {
      const previous = event.type === 'set' ? event.previous : event.object;
      if (previous !== undefined) podAddresses.change(podIPs(previous), -1);
      if (event.type === 'set') podAddresses.change(podIPs(event.object), 1);
      changed();
    });
  }
  for (const watch of [cidrs, machines]) {
    if (typeof watch === 'string') continue;
    watch.onChange(() => {
      ranges = readRanges();
      changed();
    });
  }
  const forget = known.onChange?.(changed);

  function changed(): void {
    found = undefined;
    if (listeners.size > 0) timer ??= setTimeout(tell, TOGETHER_MILLISECONDS);
  }

  function tell(): void {
    clearTimeout(timer);
    timer = undefined;
    for (const listener of listeners) listener();
  }

  function now(): NetworksFound {
    return (found ??= {
      services: [
        ...ranges.services.map((cidr): Network => ({ cidr: formatCidr(cidr), source: 'ServiceCIDR' })),
        ...single(known.services(), 'Service'),
      ],
      pods: [
        ...ranges.pods.map((cidr): Network => ({ cidr: formatCidr(cidr), source: 'Node' })),
        ...single(new Set(known.endpoints()), 'EndpointSlice'),
        ...single(podAddresses.all(), 'Pod'),
        ...single(learnt, 'DNS'),
      ],
    });
  }

  /** Addresses outside of all ranges. */
  function* single(addresses: Iterable<string>, source: NetworkSource): Generator<Network> {
    for (const address of addresses) {
      const cidr = parseCidr(address);
      if (cidr !== undefined && !ranges.set.has(address)) yield { cidr: formatCidr(cidr), source };
    }
  }

  function contains(address: string): boolean {
    if (ranges.set.has(address)) return true;
    const cidr = isIP(address) === 0 ? undefined : parseCidr(address);
    if (cidr === undefined) return false;
    const plain = formatCidr(cidr).replace(/\/\d+$/, '');
    return ranges.set.has(plain) || podAddresses.has(plain) || learnt.has(plain) || known.has(plain);
  }

  function learn(addresses: readonly string[]): void {
    const fresh = canonical(addresses).filter((address) => !contains(address));
    if (fresh.length === 0) return;
    for (const address of fresh) learnt.add(address);
    for (const address of learnt) {
      if (learnt.size <= MOST_LEARNT) break;
      learnt.delete(address);
    }
    found = undefined;
    tell();
  }

  async function close(): Promise<void> {
    forget?.();
    listeners.clear();
    clearTimeout(timer);
    await Promise.allSettled(watches.map((watch) => watch.close()));
  }

  return {
    contains,
    learn,
    get services() {
      return now().services;
    },
    get pods() {
      return now().pods;
    },
    get ranges() {
      return [...ranges.services, ...ranges.pods].map((cidr) => formatCidr(cidr));
    },
    get told() {
      return [
        sentence('Services', ranges.services, cidrs, 'ServiceCIDR objects', now().services),
        sentence('pods', ranges.pods, machines, "the Nodes' podCIDRs", now().pods),
        ...(typeof present === 'string' ? [`pods of namespace ${options.namespace}: ${present}`] : []),
      ];
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: () => (closing ??= close()),
  };
}

/** `Services: 10.96.0.0/16 (ServiceCIDR objects)`, or why there is no range and how many addresses stand in for it. */
function sentence(what: string, ranges: readonly Cidr[], watch: object | string, from: string, networks: readonly Network[]): string {
  const others = networks.length - ranges.length;
  const addresses = `${others} single address${others === 1 ? '' : 'es'}`;
  if (ranges.length > 0) {
    const texts = ranges.map((cidr) => formatCidr(cidr));
    return `${what}: ${shortened(texts)} (${from})${others === 0 ? '' : `, and ${addresses} outside of that`}`;
  }
  return `${what}: ${addresses}; ${from}: ${typeof watch === 'string' ? watch : 'none'}`;
}

function shortened(texts: readonly string[]): string {
  return texts.length <= 6 ? texts.join(', ') : `${texts.slice(0, 5).join(', ')} and ${texts.length - 5} more`;
}

function whyNot(error: unknown): string {
  if (!(error instanceof Failure)) return messageOf(error);
  if (error.code === 'API_FORBIDDEN') return 'you may not read them';
  return error.code === 'NOT_FOUND' ? 'this cluster has no such objects' : error.message;
}

/** What is no network is passed over, and so is a /0: it would take the whole internet, and nobody's cluster is that. */
function parsed(texts: readonly string[]): Cidr[] {
  return texts.flatMap((text) => {
    const cidr = text.includes('/') ? parseCidr(text) : undefined;
    return cidr === undefined || cidr.bits === 0 ? [] : [cidr];
  });
}

/** How many pods have each address: a successor may take it before its predecessor is gone. */
class AddressCount {
  private readonly counts = new Map<string, number>();

  has(address: string): boolean {
    return this.counts.has(address);
  }

  all(): Iterable<string> {
    return this.counts.keys();
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
  const listed = canonical(status.podIPs.map(({ ip }) => ip));
  return listed.length === 0 && podIP !== undefined ? canonical([podIP]) : listed;
}

function canonical(addresses: readonly string[]): string[] {
  return addresses.flatMap((address) => {
    const cidr = parseCidr(address);
    return cidr === undefined || cidr.bits !== addressBits(cidr.family) ? [] : [formatCidr(cidr).replace(/\/\d+$/, '')];
  });
}
