import type { Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { declaredSidecarOf, isReady, podsOf, sidecarOf, workloadLabel, type Workload } from '../../cluster/workloads.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';

/**
 * The ready pods of a workload, each with a running sidecar. Failures: NO_READY_POD, SIDECAR_MISSING (a pod has none),
 * SIDECAR_NOT_RUNNING.
 */
export async function attachablePods(cluster: Cluster, workload: Workload, options: AbortOptions = {}): Promise<readonly Pod[]> {
  const pods = await podsOf(cluster, workload, options);
  const ready = pods.filter((pod) => isReady(pod));
  const label = workloadLabel(workload);
  if (ready.length === 0) {
    throw new Failure('NO_READY_POD', `${label} in namespace ${workload.namespace} has no ready pod`, {
      likely: pods.length === 0 ? 'it has no pods at all' : pods.map(stateOf).join(', '),
      remedy: `see "kubectl -n ${workload.namespace} describe ${label}"`,
    });
  }
  const without = ready.filter((pod) => declaredSidecarOf(pod) === undefined);
  if (without.length > 0) {
    const whose = without.length === ready.length ? label : `pod ${without.map((pod) => pod.metadata.name).join(', ')} of ${label}`;
    throw new Failure('SIDECAR_MISSING', `${whose} has no kpeering sidecar`, {
      remedy: `run "kpctl inject ${label}" (restarts its pods), or intercept it with --ephemeral (without a restart)`,
    });
  }
  const down = ready.find((pod) => sidecarOf(pod) === undefined);
  if (down !== undefined) {
    throw new Failure('SIDECAR_NOT_RUNNING', `the sidecar of pod ${down.metadata.name} does not run now`, {
      remedy: `see "kubectl -n ${workload.namespace} logs ${down.metadata.name} -c kpeering --previous"`,
    });
  }
  return ready;
}

function stateOf(pod: Pod): string {
  const waiting = [...pod.status.initContainerStatuses, ...pod.status.containerStatuses].find((status) => status.state?.waiting != null);
  return `${pod.metadata.name} is ${waiting?.state?.waiting?.reason ?? pod.status.phase ?? 'in no known phase'}`;
}
