import type { AbortOptions } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import { endpointSlices, namespaces, SERVICE_NAME_LABEL, services } from '../../cluster/resources.ts';
import type { Cluster, KubeObject, Watch } from '../../cluster/types.ts';
import { RecordIndex } from './records.ts';
import type { EndpointSliceRecord, NamespaceKnowledge, PortRecord, RecordSource, ServiceRecord } from './records.ts';

type Port = {
  readonly name?: string | null | undefined;
  readonly protocol?: string | null | undefined;
  readonly port?: number | null | undefined;
};

/** What of a Service (core/v1) is read here; structural, so that the lab's own objects fit too. */
export interface ServiceObject extends KubeObject {
  readonly spec: {
    readonly type?: string | undefined;
    readonly clusterIP?: string | undefined;
    readonly clusterIPs?: readonly string[] | undefined;
    readonly ports?: readonly Port[] | undefined;
    readonly externalName?: string | undefined;
    readonly publishNotReadyAddresses?: boolean | undefined;
  };
}

/** What of an EndpointSlice (discovery.k8s.io/v1) is read here. */
export interface EndpointSliceObject extends KubeObject {
  readonly metadata: KubeObject['metadata'] & { readonly labels?: Readonly<Record<string, string>> | undefined };
  readonly endpoints?:
    | readonly {
        readonly addresses: readonly string[];
        readonly hostname?: string | null | undefined;
        readonly targetRef?: { readonly kind?: string | null | undefined; readonly name?: string | null | undefined } | null | undefined;
        readonly conditions?: { readonly ready?: boolean | null | undefined } | undefined;
      }[]
    | null
    | undefined;
  readonly ports?: readonly Port[] | null | undefined;
}

/** A Service as names need it. */
export function serviceRecord({ metadata, spec }: ServiceObject): ServiceRecord {
  const single = spec.clusterIP === undefined || spec.clusterIP === '' ? [] : [spec.clusterIP];
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    type: spec.type ?? 'ClusterIP',
    clusterIPs: spec.clusterIPs !== undefined && spec.clusterIPs.length > 0 ? spec.clusterIPs : single,
    ports: (spec.ports ?? []).flatMap(portRecord),
    externalName: spec.externalName,
    publishNotReadyAddresses: spec.publishNotReadyAddresses ?? false,
  };
}

/** An EndpointSlice as names need it, or undefined for one that belongs to no Service. */
export function endpointSliceRecord({ metadata, endpoints, ports }: EndpointSliceObject): EndpointSliceRecord | undefined {
  const service = metadata.labels?.[SERVICE_NAME_LABEL];
  if (service === undefined) return undefined;
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    service,
    ports: (ports ?? []).flatMap(portRecord),
    endpoints: (endpoints ?? []).map((endpoint) => ({
      addresses: endpoint.addresses,
      hostname: endpoint.hostname ?? undefined,
      ...(endpoint.targetRef?.kind === 'Pod' && { pod: endpoint.targetRef.name ?? undefined }),
      ready: endpoint.conditions?.ready ?? true,
    })),
  };
}

function portRecord({ name, protocol, port }: Port): PortRecord[] {
  return typeof port === 'number' ? [{ name: name ?? '', protocol: protocol ?? 'TCP', port }] : [];
}

export interface ClusterRecordsOptions {
  readonly cluster: Pick<Cluster, 'watch'>;
  /** Seen from the start in any case. */
  readonly namespace: string;
  /** Names may be asked of the cluster's own DNS as well: then it is no failure if even that namespace may not be seen. */
  readonly elsewhere?: boolean;
  readonly log: Logger;
}

/** Live records of a cluster. */
export interface ClusterRecords extends RecordSource, Closeable {
  /** `cluster`: all namespaces are seen; `namespaces`: those that were asked for and may be seen. */
  readonly scope: 'cluster' | 'namespaces';
  /** Calls back after any change of a record; returns the function that unsubscribes. */
  onChange(listener: () => void): () => void;
}

/** How long a namespace that may not be seen, or could not be read, is not asked for again. */
const REFUSAL_MILLISECONDS = { forbidden: 60_000, unknown: 2_000 } as const;
/** Namespaces watched on demand, beyond which no more are: each costs two connections. */
const MOST_NAMESPACES = 32;

/** Whether an error says that the user lacks the right (HTTP 403). */
function isForbidden(error: unknown): boolean {
  return error instanceof Failure && error.code === 'API_FORBIDDEN';
}

/**
 * Records from watches on Services and EndpointSlices: of all namespaces if the user may list them, else of the given
 * namespace and of others when they are first asked for. Resolves when the first lists are there; rejects with the
 * Failure of the given namespace if even that cannot be read (with `elsewhere`: for another reason than a missing right).
 */
export async function watchClusterRecords(options: ClusterRecordsOptions, { signal }: AbortOptions = {}): Promise<ClusterRecords> {
  const { cluster, log } = options;
  const index = new RecordIndex();
  const watches = new Set<Closeable>();
  const listeners = new Set<() => void>();
  /** Namespaces that are seen, or are just being asked for, or were refused until a time. */
  const asked = new Map<
    string,
    Promise<NamespaceKnowledge> | { readonly refused: 'forbidden' | 'unknown'; readonly until: number } | 'known'
  >();
  let closing: Promise<void> | undefined;
  let allNamespaces = false;

  function follow<T extends KubeObject>(watch: Watch<T>, set: (object: T) => void, remove: (object: T) => void): void {
    watches.add(watch);
    for (const object of watch.items.values()) set(object);
    watch.onChange((event) => {
      if (event.type === 'set') set(event.object);
      else remove(event.object);
      for (const listener of listeners) listener();
    });
  }

  /** Both watches, or none: resolves when both are synced. */
  async function see(scope: { readonly namespace?: string }): Promise<void> {
    const own = cluster.watch(services, scope);
    const slices = cluster.watch(endpointSlices, scope);
    try {
      await aborted(Promise.all([own.synced, slices.synced]), signal);
    } catch (error) {
      await Promise.allSettled([own.close(), slices.close()]);
      throw error;
    }
    follow(
      own,
      (object) => index.setService(serviceRecord(object)),
      ({ metadata }) => index.deleteService(metadata.namespace ?? '', metadata.name),
    );
    follow(
      slices,
      (object) => {
        const record = endpointSliceRecord(object);
        if (record === undefined) index.deleteSlice(object.metadata.namespace ?? '', object.metadata.name);
        else index.setSlice(record);
      },
      ({ metadata }) => index.deleteSlice(metadata.namespace ?? '', metadata.name),
    );
    for (const listener of listeners) listener();
  }

  /** Says which empty namespaces exist, where the user may list them. */
  async function seeNamespaces(): Promise<void> {
    const watch = cluster.watch(namespaces);
    try {
      await watch.synced;
    } catch (error) {
      log.debug({ reason: messageOf(error) }, 'namespaces cannot be listed: those with Services in sight are known');
      await watch.close();
      return;
    }
    follow(
      watch,
      ({ metadata }) => index.setNamespace(metadata.name),
      ({ metadata }) => index.deleteNamespace(metadata.name),
    );
    allNamespaces = true;
  }

  async function seeOwn(): Promise<void> {
    const { namespace } = options;
    try {
      await see({ namespace });
      asked.set(namespace, 'known');
    } catch (error) {
      if (options.elsewhere !== true || !isForbidden(error)) throw error;
      asked.set(namespace, { refused: 'forbidden', until: performance.now() + REFUSAL_MILLISECONDS.forbidden });
    }
    index.setNamespace(namespace);
  }

  function knows(namespace: string): 'watched' | 'absent' | 'unwatched' {
    if (scope === 'cluster' || asked.get(namespace) === 'known') return 'watched';
    return allNamespaces && !index.hasNamespace(namespace) ? 'absent' : 'unwatched';
  }

  async function seeOne(namespace: string): Promise<NamespaceKnowledge> {
    try {
      await see({ namespace });
      index.setNamespace(namespace);
      asked.set(namespace, 'known');
      return 'known';
    } catch (error) {
      const refused = isForbidden(error) ? 'forbidden' : 'unknown';
      log.debug({ namespace, reason: messageOf(error) }, 'the Services of a namespace cannot be seen');
      asked.set(namespace, { refused, until: performance.now() + REFUSAL_MILLISECONDS[refused] });
      return refused;
    }
  }

  function ensure(namespace: string): NamespaceKnowledge | Promise<NamespaceKnowledge> {
    if (scope === 'cluster') return 'known';
    const state = asked.get(namespace);
    if (state === 'known' || state instanceof Promise) return state;
    if (state !== undefined && performance.now() < state.until) return state.refused;
    if (closing !== undefined) return 'unknown';
    if (state === undefined && watches.size >= 2 * MOST_NAMESPACES) return 'forbidden';
    const pending = seeOne(namespace);
    asked.set(namespace, pending);
    return pending;
  }

  async function close(): Promise<void> {
    await Promise.allSettled([...asked.values()].filter((state) => state instanceof Promise));
    await Promise.allSettled([...watches].map((watch) => watch.close()));
    listeners.clear();
  }

  let scope: 'cluster' | 'namespaces' = 'cluster';
  try {
    await see({});
  } catch (error) {
    if (!isForbidden(error)) throw error;
    scope = 'namespaces';
    await seeOwn();
  }
  await seeNamespaces();

  return {
    scope,
    get generation() {
      return index.generation;
    },
    service: (namespace, name) => index.service(namespace, name),
    slices: (namespace, service) => index.slices(namespace, service),
    servicesAt: (address) => index.servicesAt(address),
    slicesAt: (address) => index.slicesAt(address),
    addresses: () => index.addresses(),
    hasNamespace: (namespace) => index.hasNamespace(namespace),
    knows,
    ensure,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: () => (closing ??= close()),
  };
}

/** The same promise, which also rejects when the signal aborts. */
async function aborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  signal.throwIfAborted();
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, stopped]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
