import type { EnvironmentContainer, EnvironmentPod, VariableSource } from './objects.ts';
import { divideQuantity } from './quantity.ts';

/** A value of the downward API, or why there is none. */
export type DownwardValue = { readonly value: string } | { readonly problem: string };

/**
 * The value of a `fieldRef` (kubelet's podFieldSelectorRuntimeValue; the paths that validation allows for variables).
 * A label or annotation that is not there is ''.
 */
export function fieldValue({ metadata, spec, status }: EnvironmentPod, path: string): DownwardValue {
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (subscript !== null) {
    const map = subscript[1] === 'labels' ? metadata.labels : metadata.annotations;
    return { value: map?.[subscript[2] ?? ''] ?? '' };
  }
  switch (path) {
    case 'metadata.name':
      return { value: metadata.name };
    case 'metadata.namespace':
      return { value: metadata.namespace ?? '' };
    case 'metadata.uid':
      return { value: metadata.uid ?? '' };
    case 'spec.nodeName':
      return { value: spec.nodeName ?? '' };
    case 'spec.serviceAccountName':
      return { value: spec.serviceAccountName ?? '' };
    case 'status.hostIP':
      return { value: status?.hostIP ?? '' };
    case 'status.hostIPs':
      return { value: join(status?.hostIPs, status?.hostIP) };
    case 'status.podIP':
      return { value: status?.podIP ?? '' };
    case 'status.podIPs':
      return { value: join(status?.podIPs, status?.podIP) };
    default:
      return { problem: `the field ${path} is not known` };
  }
}

function join(list: readonly { readonly ip: string }[] | null | undefined, single: string | null | undefined): string {
  return list === undefined || list === null || list.length === 0 ? (single ?? '') : list.map(({ ip }) => ip).join(',');
}

/** The Node's `status.allocatable`. */
export type Allocatable = Readonly<Record<string, string | number>>;

/**
 * The value of a `resourceFieldRef` of a container (its own, or the one it names). A limit that is not set is what the
 * node can allocate; where that is not known there is no value.
 */
export async function resourceValue(
  pod: EnvironmentPod,
  container: EnvironmentContainer,
  reference: NonNullable<VariableSource['resourceFieldRef']>,
  allocatable: () => Promise<Allocatable | undefined>,
): Promise<DownwardValue> {
  const name = reference.containerName ?? '';
  const owner =
    name === '' ? container : [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find((candidate) => candidate.name === name);
  if (owner === undefined) return { problem: `there is no container ${name}` };
  const [kind, ...rest] = reference.resource.split('.');
  const resource = rest.join('.');
  if ((kind !== 'limits' && kind !== 'requests') || resource === '') return { problem: `the resource ${reference.resource} is not known` };
  const limit = owner.resources?.limits?.[resource];
  // The API server sets a request that is missing to the limit; where both are missing a request is 0.
  const stated = kind === 'limits' ? limit : (owner.resources?.requests?.[resource] ?? limit ?? 0);
  const quantity = stated ?? (await allocatable())?.[resource];
  if (quantity === undefined)
    return { problem: `container ${owner.name} has no ${resource} limit, so it is what the node can allocate, which cannot be read` };
  const value = divideQuantity(quantity, reference.divisor ?? '0', resource === 'cpu');
  return value === undefined ? { problem: `${quantity} cannot be divided by ${reference.divisor}` } : { value };
}
