import type { AbortOptions } from '../platform/abort.ts';
import { Failure } from '../platform/errors.ts';
import type { Deployment } from './controllers.ts';
import { replicaSets } from './controllers.ts';
import { ephemeralOf } from './ephemeral.ts';
import { formatSelector } from './label-selector.ts';
import { pods, type Container, type Pod } from './pods.ts';
import type { LabelSelector, Metadata } from './resource.ts';
import { SERVICE_NAME_LABEL, endpointSlices, type Service } from './services.ts';
import type { Cluster, ListOptions } from './types.ts';
import type { Workload } from './workload-lookup.ts';

/** The name of kpeering's container in an application's pod. */
export const SIDECAR_NAME = 'kpeering';

/**
 * The pods of a workload that are alive: neither finished nor being deleted, ready or not. By owner (a Deployment's through
 * its ReplicaSets), so that another workload's pods with the same labels do not count; a Service's by its selector, or
 * without one by its EndpointSlices. Sorted by name.
 */
export async function podsOf(cluster: Cluster, workload: Workload, options: AbortOptions = {}): Promise<readonly Pod[]> {
  const found = await allPodsOf(cluster, workload, options);
  return found.filter(isAlive).toSorted((one, other) => one.metadata.name.localeCompare(other.metadata.name));
}

/** Neither finished (Succeeded, Failed) nor being deleted. */
export function isAlive(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp === undefined && !isFinished(pod);
}

/** Its containers have ended, and none will be started again. */
export function isFinished(pod: Pod): boolean {
  return pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed';
}

/** The pod's Ready condition, of a pod that is not being deleted. */
export function isReady(pod: Pod): boolean {
  return isAlive(pod) && pod.status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}

/** kpeering's container in the pod (an ordinary one, an init container that goes on running, or an ephemeral one), while it runs. */
export function sidecarOf(pod: Pod): Container | undefined {
  const container = ofSpecification(pod);
  if (container === undefined) return ephemeralOf(pod);
  const status = [...pod.status.containerStatuses, ...pod.status.initContainerStatuses].find(({ name }) => name === SIDECAR_NAME);
  return status?.state?.running == null ? undefined : container;
}

/** As {@link sidecarOf}, whether it runs or not; an ephemeral one only while it runs, because it does so once. */
export function declaredSidecarOf(pod: Pod): Container | undefined {
  return ofSpecification(pod) ?? ephemeralOf(pod);
}

function ofSpecification(pod: Pod): Container | undefined {
  const lasting = pod.spec.initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...pod.spec.containers, ...lasting].find(({ name }) => name === SIDECAR_NAME);
}

/** False for a pod whose sidecar is told (`kpeering.io/outbound: disabled`) to dial nothing for laptops. */
export function dialsForLaptops(pod: Pod): boolean {
  return declaredSidecarOf(pod)?.env.find(({ name }) => name === 'KPEERING_OUTBOUND')?.value !== 'disabled';
}

/**
 * What to list or watch to see a workload's pods come and go: a superset of {@link podsOf}, so check the owner. Undefined for
 * a Service without a selector.
 */
export function podSelection(workload: Workload): ListOptions | undefined {
  const { namespace, type } = workload;
  if (type === 'pod') return { namespace, fieldSelector: `metadata.name=${workload.name}` };
  if (type === 'service') return selectedByService(workload.object);
  const selector = workload.object.spec.selector;
  return { namespace, labelSelector: selector === undefined ? `job-name=${workload.name}` : formatSelector(selector) };
}

function selectedByService({ metadata, spec }: Service): ListOptions | undefined {
  const labelSelector = formatSelector({ matchLabels: spec.selector, matchExpressions: [] });
  return labelSelector === '' ? undefined : { ...(metadata.namespace !== undefined && { namespace: metadata.namespace }), labelSelector };
}

async function allPodsOf(cluster: Cluster, workload: Workload, options: AbortOptions): Promise<readonly Pod[]> {
  const selection = podSelection(workload);
  if (selection === undefined) return await podsOfSlices(cluster, workload, options);
  const [found, owners] = await Promise.all([
    cluster.list(pods, { ...selection, ...options }),
    workload.type === 'deployment' ? replicaSetsOf(cluster, workload.object, options) : undefined,
  ]);
  if (workload.type === 'pod' || workload.type === 'service') return found;
  if (workload.type !== 'deployment') return found.filter((pod) => controllerOf(pod.metadata) === workload.object.metadata.uid);
  return owners === undefined ? found : found.filter((pod) => owners.has(controllerOf(pod.metadata) ?? ''));
}

/** The uid of the object that controls this one. */
export function controllerOf(metadata: Metadata): string | undefined {
  return metadata.ownerReferences.find(({ controller }) => controller === true)?.uid;
}

/** The uids of a Deployment's ReplicaSets; undefined where they may not be listed: then its selector has to do. */
async function replicaSetsOf(
  cluster: Cluster,
  { metadata, spec }: Deployment,
  options: AbortOptions,
): Promise<ReadonlySet<string> | undefined> {
  const selector: LabelSelector = spec.selector;
  try {
    const sets = await cluster.list(replicaSets, {
      ...(metadata.namespace !== undefined && { namespace: metadata.namespace }),
      labelSelector: formatSelector(selector),
      ...options,
    });
    return new Set(sets.filter((set) => controllerOf(set.metadata) === metadata.uid).map((set) => set.metadata.uid ?? ''));
  } catch (error) {
    if (error instanceof Failure && error.code === 'API_FORBIDDEN') return undefined;
    throw error;
  }
}

async function podsOfSlices(cluster: Cluster, { namespace, name }: Workload, options: AbortOptions): Promise<readonly Pod[]> {
  const slices = await cluster.list(endpointSlices, { namespace, labelSelector: `${SERVICE_NAME_LABEL}=${name}`, ...options });
  const targets = slices.flatMap((slice) => slice.endpoints).map((endpoint) => endpoint.targetRef);
  const names = new Set(targets.flatMap((target) => (target?.kind === 'Pod' && target.name !== undefined ? [target.name] : [])));
  if (names.size === 0) return [];
  return (await cluster.list(pods, { namespace, ...options })).filter((pod) => names.has(pod.metadata.name));
}
