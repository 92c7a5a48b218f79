import { isIP } from 'node:net';
import {
  endpointSlices,
  SERVICE_NAME_LABEL,
  services,
  type EndpointSlice,
  type Service,
  type ServicePort,
} from '../../cluster/resources.ts';
import type { Cluster, Watch } from '../../cluster/types.ts';
import { portLabel } from '../../cluster/workloads.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import { OwnedStack, type Closeable } from '../../platform/owned.ts';
import { canonicalAddress } from '../../simulator/dns/records.ts';
import { targetKey, targetLabel } from '../links/targets.ts';
import type { OutboundMapping } from '../options.ts';
import type { Route } from './routes.ts';

/** One `--outbound` as given (`db:5432`), with the local port filled in. */
export interface ResolvedOutbound {
  readonly remote: string;
  readonly local: number;
}

/** What `--outbound` came to: the addresses behind the names, now and later. */
export interface OutboundTargets extends Closeable {
  readonly mappings: readonly ResolvedOutbound[];
  /** Of now; an endpoint that comes or goes changes them. */
  readonly routes: readonly Route[];
  /** Mappings that stand for no address now: headless Services without endpoints. */
  readonly empty: readonly ResolvedOutbound[];
  /** Sets who is told of changes. */
  onChange(listener: () => void): void;
}

export interface OutboundOptions extends AbortOptions {
  /** Where a bare Service name is looked for: the workload's own namespace, as in its pods. */
  readonly namespace: string;
}

/** One mapping's addresses. */
interface Source {
  readonly mapping: ResolvedOutbound;
  readonly routes: () => readonly Route[];
}

/**
 * Finds what the workload's calls of each HOST:PORT are addressed to: a Service's cluster IPs of both families; of a headless one its
 * endpoints, followed as they change; or the address that HOST is. Failures: SERVICE_NOT_FOUND, SERVICE_WITHOUT_ADDRESS, PORT_NOT_FOUND,
 * PORT_REPEATED, OUTBOUND_LOOPBACK, those of the API.
 */
export async function findOutboundTargets(
  cluster: Cluster,
  wanted: readonly OutboundMapping[],
  options: OutboundOptions,
): Promise<OutboundTargets> {
  const stack = new OwnedStack();
  const listeners = new Set<() => void>();
  const changed = (): void => listeners.forEach((listener) => listener());
  const sources: Source[] = [];
  const routes = (): Route[] => sources.flatMap((source) => source.routes());
  try {
    for (const mapping of wanted) {
      sources.push(isIP(mapping.host) === 0 ? await serviceSource(cluster, mapping, { options, stack, changed }) : addressSource(mapping));
    }
    assertDistinct(routes());
  } catch (error) {
    await stack.close();
    throw error;
  }
  return {
    mappings: sources.map(({ mapping }) => mapping),
    get routes() {
      // Two headless Services may come to share an endpoint: the first mapping has it.
      const first = new Map<string, Route>();
      for (const route of routes()) if (!first.has(targetKey(route.target))) first.set(targetKey(route.target), route);
      return [...first.values()];
    },
    get empty() {
      return sources.filter((source) => source.routes().length === 0).map(({ mapping }) => mapping);
    },
    onChange: (listener) => void listeners.add(listener),
    close: () => stack.close(),
    [Symbol.asyncDispose]: () => stack.close(),
  };
}

function addressSource({ host, port, local }: OutboundMapping): Source {
  const address = canonicalAddress(host);
  if (address.startsWith('127.') || address === '::1' || address === '0.0.0.0' || address === '::') {
    throw new Failure('OUTBOUND_LOOPBACK', `calls of ${host} stay inside the pod, and its rules never capture them`, {
      remedy: "name a Service, or an address outside of the pod; --port claims what others call the pod's own ports",
      exitCode: ExitCode.usage,
    });
  }
  if (!/^\d+$/.test(port)) {
    throw new Failure('PORT_NOT_FOUND', `the address ${host} has no port named "${port}"`, {
      likely: 'only the ports of Services have names',
      remedy: 'give its number',
    });
  }
  const number = Number(port);
  const route: Route = { target: { protocol: 'tcp', port: number, address }, local: local ?? number };
  const remote = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return { mapping: { remote, local: route.local }, routes: () => [route] };
}

interface Following {
  readonly options: OutboundOptions;
  readonly stack: OwnedStack;
  readonly changed: () => void;
}

async function serviceSource(cluster: Cluster, mapping: OutboundMapping, following: Following): Promise<Source> {
  const { host } = mapping;
  const { namespace: own, ...abort } = following.options;
  const [name = '', namespace = own] = host.split('.');
  const service = await cluster.get(services, name, { namespace, ...abort }).catch((error: unknown) => {
    if (!(error instanceof Failure) || error.code !== 'NOT_FOUND') throw error;
    throw new Failure('SERVICE_NOT_FOUND', `there is no Service "${name}" in namespace ${namespace}`, {
      remedy: 'write HOST as name or name.namespace, or give an IP address; see "kubectl get services"',
      cause: error,
    });
  });
  const { spec } = service;
  if (spec.type === 'ExternalName') {
    throw new Failure(
      'SERVICE_WITHOUT_ADDRESS',
      `the Service ${name} stands for the name ${spec.externalName ?? '?'} outside the cluster`,
      {
        remedy: 'give the IP address that it resolves to',
      },
    );
  }
  const port = portOf(service, mapping.port);
  const local = mapping.local ?? port.number;
  const resolved = { remote: `${host}:${mapping.port}`, local };
  const routeTo = (address: string, number: number): Route => ({
    target: { protocol: 'tcp', port: number, address: canonicalAddress(address) },
    local,
  });
  if (spec.clusterIP === 'None') {
    const slices = await followSlices(cluster, { name, namespace }, following);
    return { mapping: resolved, routes: () => endpointsOf(slices, port).map(([address, number]) => routeTo(address, number)) };
  }
  const addresses = [...new Set([...spec.clusterIPs, ...(spec.clusterIP === undefined ? [] : [spec.clusterIP])])];
  if (addresses.length === 0) {
    throw new Failure('SERVICE_WITHOUT_ADDRESS', `the Service ${name} in namespace ${namespace} has no cluster IP`, {
      likely: 'it is new, and none has been allocated yet',
      remedy: 'try again',
    });
  }
  return { mapping: resolved, routes: () => addresses.map((address) => routeTo(address, port.number)) };
}

/** A port of a Service: callers of a headless one use the number of its endpoints, which a name stands for. */
interface WantedPort {
  readonly number: number;
  /** The name in the EndpointSlices; undefined: the number is the endpoints' own. */
  readonly sliceName: string | undefined;
}

function portOf({ metadata, spec }: Service, wanted: string): WantedPort {
  const tcp = spec.ports.filter(({ protocol }) => protocol === 'TCP');
  if (/^\d+$/.test(wanted) && spec.clusterIP === 'None') return { number: Number(wanted), sliceName: undefined };
  const found: ServicePort | undefined = tcp.find(({ name, port }) => name === wanted || String(port) === wanted);
  if (found !== undefined) return { number: found.port, sliceName: found.name ?? '' };
  throw new Failure('PORT_NOT_FOUND', `the Service ${metadata.name} has no TCP port ${wanted}`, {
    likely: spec.ports.length === 0 ? 'it has no ports' : `its ports are ${spec.ports.map(portLabel).join(', ')}`,
    remedy: 'give one of its TCP ports',
  });
}

async function followSlices(
  cluster: Cluster,
  { name, namespace }: { readonly name: string; readonly namespace: string },
  { options, stack, changed }: Following,
): Promise<ReadonlyMap<string, EndpointSlice>> {
  const watch: Watch<EndpointSlice> = stack.use(
    cluster.watch(endpointSlices, { ...options, namespace, labelSelector: `${SERVICE_NAME_LABEL}=${name}` }),
  );
  await watch.synced;
  watch.onChange(changed);
  return watch.items;
}

/** Every address, ready or not: a caller may hold on to one that is not ready any more. */
function endpointsOf(slices: ReadonlyMap<string, EndpointSlice>, wanted: WantedPort): (readonly [string, number])[] {
  return [...slices.values()].flatMap(({ ports, endpoints }) => {
    const named = ports.find(({ name, protocol }) => protocol === 'TCP' && (name ?? '') === wanted.sliceName);
    const number = wanted.sliceName === undefined ? wanted.number : named?.port;
    if (number === undefined) return [];
    return endpoints.flatMap(({ addresses }) => addresses.map((address) => [address, number] as const));
  });
}

function assertDistinct(routes: readonly Route[]): void {
  const seen = new Set<string>();
  for (const { target } of routes) {
    if (seen.has(targetKey(target))) {
      throw new Failure('PORT_REPEATED', `--outbound names ${targetLabel(target)} twice`, { exitCode: ExitCode.usage });
    }
    seen.add(targetKey(target));
  }
}
