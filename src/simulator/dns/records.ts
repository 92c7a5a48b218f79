import { isIPv6, SocketAddress } from 'node:net';
import type { AbortOptions } from '../../platform/abort.ts';

/** A port of a Service or of an EndpointSlice. */
export interface PortRecord {
  /** '' where it has no name. */
  readonly name: string;
  /** `TCP`, `UDP` or `SCTP`. */
  readonly protocol: string;
  readonly port: number;
}

/** What names need to know of a Service. */
export interface ServiceRecord {
  readonly namespace: string;
  readonly name: string;
  /** `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`. */
  readonly type: string;
  /** `['None']`: headless. Empty for ExternalName, or when none is allocated yet. */
  readonly clusterIPs: readonly string[];
  readonly ports: readonly PortRecord[];
  /** Of type ExternalName. */
  readonly externalName?: string | undefined;
  readonly publishNotReadyAddresses: boolean;
}

/** One endpoint of an EndpointSlice. */
export interface EndpointRecord {
  readonly addresses: readonly string[];
  readonly hostname?: string | undefined;
  /** The pod's name, where it is one. */
  readonly pod?: string | undefined;
  /** `conditions.ready`, where absent means true (discovery/v1). */
  readonly ready: boolean;
}

/** What names need to know of an EndpointSlice. */
export interface EndpointSliceRecord {
  readonly namespace: string;
  readonly name: string;
  /** The label `kubernetes.io/service-name`. */
  readonly service: string;
  readonly ports: readonly PortRecord[];
  readonly endpoints: readonly EndpointRecord[];
}

/**
 * What is known of a namespace after it has been asked for: all of it; that it cannot be seen (no right); or
 * nothing, because the API did not answer in time.
 */
export type NamespaceKnowledge = 'known' | 'forbidden' | 'unknown';

/** Where answers come from. Lookups are synchronous; names and addresses are in lower case and canonical form. */
export interface RecordSource {
  service(namespace: string, name: string): ServiceRecord | undefined;
  /** The slices of a Service. */
  slices(namespace: string, service: string): Iterable<EndpointSliceRecord>;
  /** Services with this cluster IP. */
  servicesAt(address: string): Iterable<ServiceRecord>;
  /** Slices that hold this address. */
  slicesAt(address: string): Iterable<EndpointSliceRecord>;
  /** All addresses that `servicesAt` and `slicesAt` find something for. */
  addresses(): { readonly services: Iterable<string>; readonly slices: Iterable<string> };
  hasNamespace(namespace: string): boolean;
  /** `watched`: all of the namespace is here; `absent`: there is no such namespace; `unwatched`: what is here says nothing. */
  knows(namespace: string): 'watched' | 'absent' | 'unwatched';
  /** Rises with every change: the zone's serial. */
  readonly generation: number;
  /**
   * Makes a namespace's records present where that is possible, waiting a short time; answers at once, without a
   * promise, for what is present. Never rejects.
   */
  ensure(namespace: string, options?: AbortOptions): NamespaceKnowledge | Promise<NamespaceKnowledge>;
}

/**
 * The records as indexes, kept up to date one object at a time. Whoever has Services and EndpointSlices (watches on
 * the laptop, the lab's own objects) puts them here.
 */
export class RecordIndex implements RecordSource {
  generation = 1;
  private readonly services = new Map<string, ServiceRecord>();
  private readonly byService = new Map<string, Map<string, EndpointSliceRecord>>();
  private readonly slicesByName = new Map<string, EndpointSliceRecord>();
  private readonly serviceAddresses = new Map<string, Set<ServiceRecord>>();
  private readonly endpointAddresses = new Map<string, Set<EndpointSliceRecord>>();
  private readonly namespaces = new Set<string>();
  /** How many objects each namespace has: one with objects exists, whether or not it was announced. */
  private readonly population = new Map<string, number>();

  service(namespace: string, name: string): ServiceRecord | undefined {
    return this.services.get(`${namespace}/${name}`);
  }

  slices(namespace: string, service: string): Iterable<EndpointSliceRecord> {
    return this.byService.get(`${namespace}/${service}`)?.values() ?? [];
  }

  servicesAt(address: string): Iterable<ServiceRecord> {
    return this.serviceAddresses.get(address) ?? [];
  }

  slicesAt(address: string): Iterable<EndpointSliceRecord> {
    return this.endpointAddresses.get(address) ?? [];
  }

  addresses(): { readonly services: Iterable<string>; readonly slices: Iterable<string> } {
    return { services: this.serviceAddresses.keys(), slices: this.endpointAddresses.keys() };
  }

  hasNamespace(namespace: string): boolean {
    return this.namespaces.has(namespace) || this.population.has(namespace);
  }

  knows(): 'watched' {
    return 'watched';
  }

  ensure(): NamespaceKnowledge {
    return 'known';
  }

  setNamespace(name: string): void {
    this.generation += 1;
    this.namespaces.add(name);
  }

  deleteNamespace(name: string): void {
    this.generation += 1;
    this.namespaces.delete(name);
  }

  setService(record: ServiceRecord): void {
    this.deleteService(record.namespace, record.name);
    this.services.set(`${record.namespace}/${record.name}`, record);
    for (const address of serviceAddresses(record)) addTo(this.serviceAddresses, canonicalAddress(address), record);
    this.count(record.namespace, 1);
  }

  deleteService(namespace: string, name: string): void {
    this.generation += 1;
    const key = `${namespace}/${name}`;
    const previous = this.services.get(key);
    if (previous === undefined) return;
    this.services.delete(key);
    for (const address of serviceAddresses(previous)) removeFrom(this.serviceAddresses, canonicalAddress(address), previous);
    this.count(namespace, -1);
  }

  setSlice(record: EndpointSliceRecord): void {
    this.deleteSlice(record.namespace, record.name);
    const key = `${record.namespace}/${record.service}`;
    const siblings = this.byService.get(key) ?? new Map<string, EndpointSliceRecord>();
    siblings.set(record.name, record);
    this.byService.set(key, siblings);
    this.slicesByName.set(`${record.namespace}/${record.name}`, record);
    for (const address of sliceAddresses(record)) addTo(this.endpointAddresses, canonicalAddress(address), record);
    this.count(record.namespace, 1);
  }

  deleteSlice(namespace: string, name: string): void {
    this.generation += 1;
    const previous = this.slicesByName.get(`${namespace}/${name}`);
    if (previous === undefined) return;
    this.slicesByName.delete(`${namespace}/${name}`);
    const key = `${namespace}/${previous.service}`;
    const siblings = this.byService.get(key);
    siblings?.delete(name);
    if (siblings?.size === 0) this.byService.delete(key);
    for (const address of sliceAddresses(previous)) removeFrom(this.endpointAddresses, canonicalAddress(address), previous);
    this.count(namespace, -1);
  }

  private count(namespace: string, step: 1 | -1): void {
    const population = (this.population.get(namespace) ?? 0) + step;
    if (population === 0) this.population.delete(namespace);
    else this.population.set(namespace, population);
  }
}

/** The cluster IPs of a Service, without `None`. */
export function serviceAddresses(record: ServiceRecord): readonly string[] {
  return isHeadless(record) ? [] : record.clusterIPs.filter((address) => address !== '');
}

/** A Service whose name stands for its endpoints. */
export function isHeadless(record: ServiceRecord): boolean {
  return record.clusterIPs[0]?.toLowerCase() === 'none';
}

/** Every address of a slice, ready or not. */
export function* sliceAddresses(record: EndpointSliceRecord): Generator<string> {
  for (const endpoint of record.endpoints) yield* endpoint.addresses;
}

/** The one way to write an address (RFC 5952 for IPv6). */
export function canonicalAddress(address: string): string {
  return isIPv6(address) ? new SocketAddress({ address, family: 'ipv6' }).address : address;
}

function addTo<T>(index: Map<string, Set<T>>, key: string, value: T): void {
  const entry = index.get(key);
  if (entry === undefined) index.set(key, new Set([value]));
  else entry.add(value);
}

function removeFrom<T>(index: Map<string, Set<T>>, key: string, value: T): void {
  const entry = index.get(key);
  entry?.delete(value);
  if (entry?.size === 0) index.delete(key);
}
