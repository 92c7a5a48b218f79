import type { Pod } from '../../../cluster/resources.ts';
import { declaredSidecarOf, sidecarOf } from '../../../cluster/workloads.ts';
import { podReason } from '../../inject/stuck.ts';
import { INIT_NAME } from '../../../operator/injection/index.ts';
import { clusterCheck } from '../examination.ts';
import { isFailure, note, ok, problem, unknown, warning, type Seen } from '../finding.ts';
import { metricValue } from '../metric-value.ts';
import type { SidecarAnswer } from '../sidecars.ts';
import { restartOf, subjectOf } from '../subjects.ts';

/** Whether the pods' sidecars run, answer through a port-forward, and stay up. */
export const sidecarsCheck = clusterCheck('sidecars', async ({ cluster }, examination) => {
  let pods: readonly Pod[];
  try {
    pods = await examination.pods();
  } catch (error) {
    if (isFailure(error, 'NOT_FOUND', 'WORKLOAD_NOT_FOUND'))
      return [problem(error.message, error.remedy ?? 'kpctl list names what there is')];
    throw error;
  }
  const declared = pods.filter((pod) => declaredSidecarOf(pod) !== undefined);
  if (declared.length === 0) {
    const where = examination.workloadName === undefined ? `namespace ${cluster.namespace}` : examination.workloadName;
    return [note(`none of the ${pods.length} pods of ${where} has a sidecar`, 'kpctl inject WORKLOAD, or kpctl intercept --ephemeral')];
  }
  const { answers, passedOver } = await examination.sidecars();
  return [
    ...declared.filter((pod) => sidecarOf(pod) === undefined).map(notRunning),
    ...answers.flatMap(ofAnswer),
    ...(passedOver > 0 ? [note(`${passedOver} more sidecars were not asked`, 'name a workload: kpctl doctor WORKLOAD')] : []),
  ];
});

function notRunning(pod: Pod): Seen {
  const { namespace = 'default', name } = pod.metadata;
  const reason = podReason(pod);
  const container =
    pod.status.initContainerStatuses.find((status) => status.name === INIT_NAME)?.state?.terminated === undefined ? INIT_NAME : 'kpeering';
  return problem(
    `its sidecar does not run${reason === undefined ? '' : `: the pod ${reason}`}`,
    `kubectl -n ${namespace} describe pod ${name}; kubectl -n ${namespace} logs ${name} -c ${container}`,
    subjectOf(pod),
  );
}

function ofAnswer({ pod, told, why, metrics }: SidecarAnswer): readonly Seen[] {
  const subject = subjectOf(pod);
  if (told === undefined) return [ofSilence(why ?? 'no answer', pod)];
  const restarts = metricValue(metrics, 'kpeering_restarts_total') ?? 0;
  const holders = [...new Set(told.claims.map(({ holder }) => holder.name))].join(', ');
  return [
    ok(`its sidecar answers${holders === '' ? '' : `; claimed by ${holders}`}`, subject),
    ...(restarts > 0
      ? [
          warning(
            `kpeering has ended unexpectedly and was started again ${restarts} ${restarts === 1 ? 'time' : 'times'}`,
            `please report it with "kpctl logs --gather"; see kubectl -n ${pod.metadata.namespace ?? 'default'} logs ${pod.metadata.name} -c kpeering`,
            subject,
          ),
        ]
      : []),
  ];
}

function ofSilence(why: string, pod: Pod): Seen {
  if (why.includes('[API_FORBIDDEN]')) return unknown('you may not port-forward to it', undefined, subjectOf(pod));
  return warning(
    `its sidecar does not answer: ${why}`,
    `kubectl -n ${pod.metadata.namespace ?? 'default'} logs ${pod.metadata.name} -c kpeering; or ${restartOf(pod)}`,
    subjectOf(pod),
  );
}
