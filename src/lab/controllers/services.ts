import type { ServicePortRule } from '../network/rules.ts';
import { endpointSliceSchema, type Pod, type Service } from '../objects/schemas.ts';
import type { Store } from '../objects/store.ts';
import { hashSuffix } from './names.ts';
import { isReady, isTerminating, ownerReference } from './pods.ts';

const serviceNameLabel = 'kubernetes.io/service-name';

interface ResolvedPort {
  readonly name?: string;
  readonly port: number;
  readonly protocol: string;
}

/** One step of the EndpointSlice controller: for each Service with a selector, a slice for each set of ports that its pods have. */
export function reconcileEndpoints(store: Store): void {
  for (const service of store.services.list()) {
    const { selector, publishNotReadyAddresses } = service.spec;
    if (selector === undefined || Object.keys(selector).length === 0 || service.spec.type === 'ExternalName') continue;
    const { name, namespace = '' } = service.metadata;
    const groups = new Map<string, { ports: readonly ResolvedPort[]; pods: Pod[] }>();
    for (const pod of store.pods.list(namespace)) {
      if (pod.status.podIP === undefined || pod.status.phase !== 'Running') continue;
      if (!Object.entries(selector).every(([key, value]) => pod.metadata.labels[key] === value)) continue;
      const ports = portsOf(service, pod);
      const group = groups.get(JSON.stringify(ports)) ?? { ports, pods: [] };
      group.pods.push(pod);
      groups.set(JSON.stringify(ports), group);
    }
    // As in Kubernetes there is a slice where there is a Service.
    if (groups.size === 0) groups.set('[]', { ports: [], pods: [] });
    const written = new Set<string>();
    for (const [key, { ports, pods }] of groups) {
      const sliceName = `${name}-${hashSuffix([service.metadata.uid, key], 5)}`;
      written.add(sliceName);
      const previous = store.endpointSlices.get(namespace, sliceName);
      store.endpointSlices.put(
        endpointSliceSchema.parse({
          apiVersion: 'discovery.k8s.io/v1',
          kind: 'EndpointSlice',
          metadata: {
            ...previous?.metadata,
            name: sliceName,
            namespace,
            labels: { [serviceNameLabel]: name, 'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io' },
            ownerReferences: [ownerReference(service)],
          },
          addressType: 'IPv4',
          ports,
          endpoints: pods.map((pod) => endpointOf(pod, name, publishNotReadyAddresses)),
        }),
      );
    }
    for (const { metadata } of store.endpointSlices.list(namespace)) {
      if (metadata.labels[serviceNameLabel] === name && !written.has(metadata.name)) store.endpointSlices.delete(namespace, metadata.name);
    }
  }
}

function portsOf(service: Service, pod: Pod): ResolvedPort[] {
  return service.spec.ports.flatMap(({ name, port, targetPort = port, protocol }) => {
    const declared = [...pod.spec.containers, ...pod.spec.initContainers].flatMap(({ ports }) => ports);
    const number =
      typeof targetPort === 'number'
        ? targetPort
        : declared.find((one) => one.name === targetPort && one.protocol === protocol)?.containerPort;
    return number === undefined ? [] : [{ ...(name !== undefined && { name }), port: number, protocol }];
  });
}

function endpointOf(pod: Pod, service: string, publishNotReady: boolean): unknown {
  const { name, namespace, uid } = pod.metadata;
  const { hostname, subdomain } = pod.spec;
  const serving = isReady(pod);
  const terminating = isTerminating(pod);
  return {
    addresses: [pod.status.podIP],
    conditions: { ready: publishNotReady || (serving && !terminating), serving, terminating },
    ...(hostname !== undefined && subdomain === service && { hostname }),
    nodeName: pod.spec.nodeName,
    targetRef: { kind: 'Pod', name, namespace, uid },
  };
}

/** What the node's rules do for the Services: each port of a Service's address with its ready endpoints (kube-proxy's part). */
export function serviceRules(store: Store, except: readonly string[]): ServicePortRule[] {
  return store.services.list().flatMap((service) => {
    const { clusterIP, ports } = service.spec;
    if (clusterIP === undefined || clusterIP === '' || clusterIP === 'None' || except.includes(clusterIP)) return [];
    const slices = store.endpointSlices
      .list(service.metadata.namespace ?? '')
      .filter(({ metadata }) => metadata.labels[serviceNameLabel] === service.metadata.name);
    return ports.flatMap(({ name, port, protocol }) => {
      if (protocol !== 'TCP' && protocol !== 'UDP') return [];
      const endpoints = slices.flatMap((slice) => {
        const target = slice.ports.find((one) => one.name === name && (one.protocol ?? 'TCP') === protocol)?.port;
        const ready = slice.endpoints.filter(({ conditions }) => conditions?.ready !== false);
        return target === undefined
          ? []
          : ready.flatMap(({ addresses }) => addresses.slice(0, 1).map((address) => ({ address, port: target })));
      });
      return [{ address: clusterIP, port, protocol: protocol === 'TCP' ? ('tcp' as const) : ('udp' as const), endpoints }];
    });
  });
}
