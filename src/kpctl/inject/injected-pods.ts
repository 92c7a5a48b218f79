import { replicaSets, type Pod } from '../../cluster/resources.ts';
import type { Templated } from '../../cluster/templates.ts';
import type { Cluster } from '../../cluster/types.ts';
import { podsOf, workloadLabel } from '../../cluster/workloads.ts';
import { INIT_NAME, INJECTED_LABEL, NOT_INJECTED_ANNOTATION, SIDECAR_NAME } from '../../operator/injection/index.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { operatorInstalled, operatorMissing } from './operator-presence.ts';
import { eventsOf } from './stuck.ts';
import type { Target } from './targets.ts';
import { operatorSilent } from './try-admission.ts';

/** Whether the operator put kpeering into the pod at its admission. */
export function isInjected({ metadata }: Pick<Pod, 'metadata'>): boolean {
  return metadata.labels[INJECTED_LABEL] === 'true';
}

/** Whether a template has kpeering's containers of its own manifest. */
export function isByHand({ spec }: Templated['spec']['template']): boolean {
  return [...spec.initContainers, ...spec.containers].some(({ name }) => name === SIDECAR_NAME || name === INIT_NAME);
}

/** Why pods that were to be injected are not: what the injector has written on them or told of their owner, else that nobody answered. */
export async function notInjected(cluster: Cluster, target: Target, pods: readonly Pod[], options: AbortOptions): Promise<Failure> {
  const names = pods.map(({ metadata }) => metadata.name).join(', ');
  const what = `${workloadLabel(target.workload)} has new pods without a sidecar (${names})`;
  const said = pods.map(({ metadata }) => metadata.annotations[NOT_INJECTED_ANNOTATION]).find((text) => text !== undefined);
  const reason = said ?? (await toldOfOwners(cluster, target, pods, options));
  if (reason !== undefined) {
    return new Failure('NOT_INJECTED', what, { likely: reason, remedy: `mend that, or take the label away: ${ejectCommand(target)}` });
  }
  const { message, likely, remedy, code } = (await operatorInstalled(cluster, options)) === false ? operatorMissing() : operatorSilent();
  return new Failure(code, `${what}: ${message}`, {
    ...(likely !== undefined && { likely }),
    remedy: `${remedy ?? ''}; the label stays until ${ejectCommand(target)}`,
  });
}

function ejectCommand({ workload }: Target): string {
  return `kpctl eject ${workloadLabel(workload)}`;
}

/** The operator's latest Event about the workload, or about the ReplicaSets between it and the pods. */
async function toldOfOwners(cluster: Cluster, target: Target, pods: readonly Pod[], options: AbortOptions): Promise<string | undefined> {
  const owners = [target.object.metadata, ...(await ownersOf(cluster, target, pods, options))];
  for (const metadata of owners) {
    const told = (await eventsOf(cluster, metadata, options)).findLast(({ reason }) => reason === NOT_INJECTED_EVENT);
    if (told?.message !== undefined) return told.message;
  }
  return undefined;
}

/** As the operator names its Event. */
const NOT_INJECTED_EVENT = 'NotInjected';

async function ownersOf(cluster: Cluster, { namespace }: Target, pods: readonly Pod[], options: AbortOptions) {
  const uids = new Set(pods.flatMap(({ metadata }) => metadata.ownerReferences.map(({ uid }) => uid)));
  try {
    const sets = await cluster.list(replicaSets, { namespace, ...options });
    return sets.map(({ metadata }) => metadata).filter(({ uid }) => uid !== undefined && uids.has(uid));
  } catch (error) {
    if (error instanceof Failure && error.code === 'API_FORBIDDEN') return [];
    throw error;
  }
}

/** The pods of a target that are alive, in two: those that the operator injected, and the others. */
export async function podsByInjection(
  cluster: Cluster,
  target: Target,
  options: AbortOptions,
): Promise<{ readonly all: readonly Pod[]; readonly injected: readonly Pod[]; readonly others: readonly Pod[] }> {
  const all = await podsOf(cluster, target.workload, options);
  return { all, injected: all.filter((pod) => isInjected(pod)), others: all.filter((pod) => !isInjected(pod)) };
}
