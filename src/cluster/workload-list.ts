import type { AbortOptions } from '../platform/abort.ts';
import { daemonSets, deployments, jobs, replicaSets, statefulSets, type ReplicaSet } from './controllers.ts';
import { matchesSelector } from './label-selector.ts';
import { pods, type ContainerPort, type Pod } from './pods.ts';
import type { LabelSelector, Metadata } from './resource.ts';
import type { Cluster, KubeObject, Resource } from './types.ts';
import { permitted } from './workload-lookup.ts';
import { SIDECAR_NAME, controllerOf, declaredSidecarOf, isAlive, isReady } from './workload-pods.ts';
import { declaredPorts } from './workload-ports.ts';
import type { WorkloadType } from './workload-reference.ts';

/** A line of `kpctl list`. */
export interface WorkloadSummary {
  readonly type: Exclude<WorkloadType, 'service'>;
  /** `Deployment` */
  readonly kind: string;
  readonly name: string;
  readonly namespace: string;
  /** Those that are alive, by name. */
  readonly pods: readonly Pod[];
  readonly ready: number;
  /** What its specification asks for; of a kind that does not say it the number of its pods. */
  readonly desired: number;
  /** The application's declared TCP and UDP ports, of the pods or else of the template; kpeering's own left out. */
  readonly ports: readonly ContainerPort[];
  /** Of its pod template; of a pod its own. */
  readonly labels: Readonly<Record<string, string>>;
  /** How many of its pods have a sidecar (`declaredSidecarOf`): none of none is `none`. */
  readonly sidecar: 'all' | 'some' | 'none';
}

export interface ListWorkloadsOptions extends AbortOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string;
}

interface Template {
  readonly metadata?: { readonly labels: Readonly<Record<string, string>> } | undefined;
  readonly spec: Pod['spec'];
}

interface Controller {
  readonly metadata: Metadata;
  readonly spec: {
    readonly replicas?: number | undefined;
    readonly parallelism?: number | undefined;
    readonly selector?: LabelSelector | undefined;
    readonly template?: Template | undefined;
  };
}

const CONTROLLERS = [
  { type: 'deployment', resource: deployments },
  { type: 'statefulset', resource: statefulSets },
  { type: 'daemonset', resource: daemonSets },
  { type: 'replicaset', resource: replicaSets },
  { type: 'job', resource: jobs },
] as const;

/**
 * Every workload with its pods: what makes pods (a ReplicaSet only without a Deployment, a Job only while it has pods), and pods
 * that nothing made. Kinds that may not be listed are passed over; pods must be. Sorted by namespace, name, kind.
 */
export async function listWorkloads(cluster: Cluster, options: ListWorkloadsOptions = {}): Promise<WorkloadSummary[]> {
  const [allPods, found] = await Promise.all([
    cluster.list(pods, options),
    permitted(CONTROLLERS, async ({ type, resource }) => {
      const objects: readonly Controller[] = await cluster.list<KubeObject & Controller>(
        resource satisfies Resource<KubeObject & Controller>,
        options,
      );
      return { type, kind: resource.kind, objects };
    }).catch(() => []),
  ]);
  const alive = allPods.filter(isAlive);
  const sets = found.find(({ type }) => type === 'replicaset')?.objects;
  const owned = podsByOwner(alive, sets ?? []);
  const claimed = new Set<Pod>();
  const summaries: WorkloadSummary[] = [];
  for (const { type, kind, objects } of found) {
    for (const { metadata, spec } of objects) {
      if (type === 'replicaset' && controllerOf(metadata) !== undefined) continue;
      const byOwner = owned.get(metadata.uid ?? '') ?? [];
      // ReplicaSets that may not be listed hide whose pods they made.
      const own = sets !== undefined || type !== 'deployment' ? byOwner : bySelector(alive, metadata, spec.selector);
      if (type === 'job' && own.length === 0) continue;
      for (const pod of own) claimed.add(pod);
      const desired = spec.replicas ?? spec.parallelism ?? (type === 'daemonset' ? own.length : 1);
      summaries.push(summary({ type, kind, name: metadata.name, namespace: metadata.namespace ?? '', desired }, own, spec.template));
    }
  }
  for (const pod of alive) {
    if (claimed.has(pod)) continue;
    const { name, namespace = '' } = pod.metadata;
    summaries.push(summary({ type: 'pod', kind: 'Pod', name, namespace, desired: 1 }, [pod], pod));
  }
  return summaries.toSorted(
    (one, other) =>
      one.namespace.localeCompare(other.namespace) || one.name.localeCompare(other.name) || one.kind.localeCompare(other.kind),
  );
}

/** Pods by the uid of what made them, and by that of the Deployment above it. */
function podsByOwner(alive: readonly Pod[], sets: readonly Pick<ReplicaSet, 'metadata'>[]): Map<string, Pod[]> {
  const above = new Map(sets.map(({ metadata }) => [metadata.uid, controllerOf(metadata)]));
  const owned = new Map<string, Pod[]>();
  for (const pod of alive) {
    const controller = controllerOf(pod.metadata);
    if (controller === undefined) continue;
    const owner = above.get(controller) ?? controller;
    const list = owned.get(owner);
    if (list === undefined) owned.set(owner, [pod]);
    else list.push(pod);
  }
  return owned;
}

function bySelector(alive: readonly Pod[], { namespace }: Metadata, selector: LabelSelector | undefined): Pod[] {
  if (selector === undefined) return [];
  const ownedBySet = (pod: Pod): boolean =>
    pod.metadata.ownerReferences.some(({ kind, controller }) => controller === true && kind === 'ReplicaSet');
  return alive.filter((pod) => pod.metadata.namespace === namespace && ownedBySet(pod) && matchesSelector(selector, pod.metadata.labels));
}

function summary(
  head: Pick<WorkloadSummary, 'type' | 'kind' | 'name' | 'namespace' | 'desired'>,
  own: readonly Pod[],
  template: Template | undefined,
): WorkloadSummary {
  const sorted = own.toSorted((one, other) => one.metadata.name.localeCompare(other.metadata.name));
  const specs = own.length > 0 ? own.map(({ spec }) => spec) : template === undefined ? [] : [template.spec];
  const ports = new Map<string, ContainerPort>();
  for (const spec of specs) for (const port of applicationPorts(spec)) ports.set(`${port.containerPort}/${port.protocol}`, port);
  const withSidecar = own.filter((pod) => declaredSidecarOf(pod) !== undefined).length;
  return {
    ...head,
    pods: sorted,
    labels: template?.metadata?.labels ?? {},
    ready: own.filter(isReady).length,
    ports: [...ports.values()].toSorted((one, other) => one.containerPort - other.containerPort),
    sidecar: withSidecar === 0 ? 'none' : withSidecar === own.length ? 'all' : 'some',
  };
}

function applicationPorts(spec: Pod['spec']): readonly ContainerPort[] {
  const others = (containers: Pod['spec']['containers']): Pod['spec']['containers'] =>
    containers.filter(({ name }) => name !== SIDECAR_NAME);
  return declaredPorts({ spec: { ...spec, containers: others(spec.containers), initContainers: others(spec.initContainers) } });
}
