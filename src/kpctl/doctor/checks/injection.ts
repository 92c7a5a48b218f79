import type { Pod } from '../../../cluster/resources.ts';
import { declaredSidecarOf } from '../../../cluster/workloads.ts';
import { INJECTED_LABEL, INJECT_LABEL, NOT_INJECTED_ANNOTATION } from '../../../operator/injection/index.ts';
import { isRequested } from '../../../operator/injection/requested.ts';
import type { PodNamespace } from '../../../operator/injection/index.ts';
import { clusterCheck } from '../examination.ts';
import { failed, isFailure, ok, unknown, warning, type Seen } from '../finding.ts';
import { restartOf, subjectOf } from '../subjects.ts';

/** Pods that ask for kpeering and do not have it: left alone by the operator, or made while it was down. */
export const injectionCheck = clusterCheck('injection', async ({ cluster }, examination) => {
  const [pods, namespace, { namespace: own }] = await Promise.all([
    examination.pods(),
    examination.namespace().catch(() => undefined),
    examination.installation(),
  ]);
  if (cluster.namespace === own || cluster.namespace === 'kube-system') return [];
  const seen = pods.flatMap((pod) => ofPod(pod, namespace));
  if (seen.length > 0) return seen;
  const injected = pods.filter(({ metadata }) => metadata.labels[INJECTED_LABEL] === 'true').length;
  return [
    ok(`${injected} of ${pods.length} pods are injected, and no other one asks for it`),
    ...(namespace === undefined
      ? [unknown(`whether namespace ${cluster.namespace} asks for injection of all its pods: you may not read it`)]
      : []),
  ];
});

function ofPod(pod: Pod, namespace: PodNamespace | undefined): readonly Seen[] {
  const { labels, annotations } = pod.metadata;
  if (declaredSidecarOf(pod) !== undefined) return [];
  const reason = annotations[NOT_INJECTED_ANNOTATION];
  if (reason !== undefined) {
    return [warning(`the operator has left it alone: ${reason}`, `mend that, then: ${restartOf(pod)}`, subjectOf(pod))];
  }
  try {
    if (!isRequested(labels, namespace?.labels ?? {})) return [];
  } catch (error) {
    if (isFailure(error, 'INJECT_LABEL')) return [failed('warning', error, subjectOf(pod))];
    throw error;
  }
  const whose = labels[INJECT_LABEL] === undefined ? "its namespace's label" : 'its label';
  return [
    warning(
      `${whose} asks for kpeering, and it has none: it was made while the operator did not answer, or before it was asked`,
      `once the checks operator and webhook are well: ${restartOf(pod)}`,
      subjectOf(pod),
    ),
  ];
}
