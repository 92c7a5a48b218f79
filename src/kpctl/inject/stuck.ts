import { events, type Event } from '../../cluster/events.ts';
import type { Metadata, Pod } from '../../cluster/resources.ts';
import type { Templated } from '../../cluster/templates.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';

/** What a container waits for while all is well. */
const USUAL = new Set(['ContainerCreating', 'PodInitializing']);

/**
 * Why pods of a rollout do not come up, as their own status tells; undefined while nothing is wrong. `late`: that a pod is not ready yet is
 * wrong, too.
 */
export function stuckReason(object: Templated, pods: readonly Pod[], late = false): string | undefined {
  const failed = object.status.conditions.find(({ type, status }) => type === 'ReplicaFailure' && status === 'True');
  if (failed !== undefined) return `pods cannot be created: ${failed.message ?? failed.reason ?? 'no reason given'}`;
  for (const pod of pods) {
    const reason = podReason(pod) ?? (late ? notReady(pod) : undefined);
    if (reason !== undefined) return `pod ${pod.metadata.name} ${reason}`;
  }
  return undefined;
}

/** `cannot be scheduled: 0/1 nodes are available`, `does not start: container kpeering-init: ImagePullBackOff: …` */
export function podReason(pod: Pod): string | undefined {
  const { conditions, initContainerStatuses, containerStatuses } = pod.status;
  const scheduled = conditions.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False') return `cannot be scheduled: ${scheduled.message ?? scheduled.reason ?? 'no reason given'}`;
  for (const { name, state } of [...initContainerStatuses, ...containerStatuses]) {
    const reason = state?.waiting?.reason;
    if (reason !== undefined && !USUAL.has(reason)) {
      const message = state?.waiting?.message;
      return `does not start: container ${name}: ${reason}${message === undefined ? '' : `: ${message}`}`;
    }
    const ended = state?.terminated;
    if (ended !== undefined && ended !== null && (ended.exitCode ?? 0) !== 0) {
      return `does not start: container ${name} ended with exit code ${ended.exitCode}`;
    }
  }
  return undefined;
}

function notReady({ status }: Pod): string | undefined {
  const names = status.containerStatuses.filter(({ ready, state }) => ready !== true && state?.running != null).map(({ name }) => name);
  return names.length > 0 ? `is not ready: container ${names.join(', ')} runs, and its readiness probe has not succeeded` : undefined;
}

/** Why a controller could not make pods: the latest of its Events `FailedCreate`. Undefined: none, or the user may not read Events. */
export async function failedCreation(
  cluster: Cluster,
  { metadata }: Pick<Templated, 'metadata'>,
  options: AbortOptions,
): Promise<string | undefined> {
  const found = await eventsOf(cluster, metadata, options);
  const latest = found.findLast(({ reason }) => reason === 'FailedCreate');
  return latest === undefined ? undefined : `pods cannot be created: ${latest.message ?? 'no reason given'}`;
}

/** An object's Events, the latest last; none where the user may not read them. */
export async function eventsOf(
  cluster: Cluster,
  { uid = '', namespace = cluster.namespace }: Metadata,
  options: AbortOptions,
): Promise<readonly Event[]> {
  try {
    const found = await cluster.list(events, { namespace, fieldSelector: `involvedObject.uid=${uid}`, ...options });
    const timeOf = ({ lastTimestamp, eventTime, metadata }: Event): string =>
      lastTimestamp ?? eventTime ?? metadata.creationTimestamp ?? '';
    return found.toSorted((one, other) => timeOf(one).localeCompare(timeOf(other)));
  } catch (error) {
    if (error instanceof Failure && error.code === 'API_FORBIDDEN') return [];
    throw error;
  }
}
