import type { Pod } from '../../cluster/resources.ts';
import { declaredSidecarOf, ephemeralOf, type WorkloadSummary } from '../../cluster/workloads.ts';
import { INJECT_LABEL, INJECTED_LABEL, NOT_INJECTED_ANNOTATION } from '../../operator/injection/index.ts';

/** How a pod has come to its sidecar. */
export type SidecarOrigin =
  /** By the operator, at its admission. */
  | 'injected'
  /** It is in its own manifest. */
  | 'by hand'
  /** It was added to the running pod as an ephemeral container. */
  | 'ephemeral'
  | 'none';

/** The sidecars of a workload's pods, and what is still to come. */
export interface SidecarState {
  /** Where pods differ: `some pods`. Of a workload without pods: `none`. */
  readonly sidecar: SidecarOrigin | 'some pods';
  /** How many of its pods have one. */
  readonly withSidecar: number;
  /** Its pods are older than its label: they change when they are made anew. */
  readonly restartPending: boolean;
  /** Why the operator left a pod alone, in its words. */
  readonly refused: string | undefined;
}

/** `namespaceLabels`: undefined where the user may not read them; then the templates' own labels are what counts. */
export function sidecarState(
  { pods, labels }: Pick<WorkloadSummary, 'pods' | 'labels'>,
  namespaceLabels: Readonly<Record<string, string>> | undefined,
): SidecarState {
  const origins = new Set(pods.map((pod) => originOf(pod)));
  const [first = 'none'] = origins;
  const refused = pods.map(({ metadata }) => metadata.annotations[NOT_INJECTED_ANNOTATION]).find((reason) => reason !== undefined);
  const asked = (labels[INJECT_LABEL] ?? namespaceLabels?.[INJECT_LABEL]) === 'enabled';
  const known = labels[INJECT_LABEL] !== undefined || namespaceLabels !== undefined;
  const late = pods.some((pod) => {
    const origin = originOf(pod);
    if (pod.metadata.annotations[NOT_INJECTED_ANNOTATION] !== undefined || origin === 'by hand') return false;
    return asked ? origin === 'none' || origin === 'ephemeral' : known && origin === 'injected';
  });
  return {
    sidecar: origins.size > 1 ? 'some pods' : first,
    withSidecar: pods.filter((pod) => originOf(pod) !== 'none').length,
    restartPending: late,
    refused,
  };
}

export function originOf(pod: Pod): SidecarOrigin {
  if (ephemeralOf(pod) !== undefined) return 'ephemeral';
  if (declaredSidecarOf(pod) === undefined) return 'none';
  if (ephemeralOf(pod) !== undefined) return 'ephemeral';
  return pod.metadata.labels[INJECTED_LABEL] === 'true' ? 'injected' : 'by hand';
}
