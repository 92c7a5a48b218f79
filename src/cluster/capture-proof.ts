import type { Pod } from './pods.ts';
import { SIDECAR_NAME } from './workload-pods.ts';

/**
 * What the operator has found out about a pod's capture, in the pod's conditions: whether a connection from outside arrives at its kpeering.
 */

/** The type of the condition. */
export const CAPTURED_CONDITION = 'kpeering.io/Captured';

export interface CaptureProof {
  /** `Unknown`: the operator could not tell (a NetworkPolicy, no route). */
  readonly status: 'True' | 'False' | 'Unknown';
  /** One word: `Proved`, `NotCaptured`, `Unreachable` … */
  readonly reason: string | undefined;
  readonly message: string | undefined;
  /** When it was found out, in milliseconds since 1970. */
  readonly at: number;
}

/** The operator's proof of this pod. Undefined: none was made yet, or the sidecar has been started again since. */
export function captureProofOf(pod: Pod): CaptureProof | undefined {
  const condition = pod.status.conditions.find(({ type }) => type === CAPTURED_CONDITION);
  if (condition === undefined) return undefined;
  const { status, reason, message, lastProbeTime } = condition;
  if (status !== 'True' && status !== 'False' && status !== 'Unknown') return undefined;
  const at = Date.parse(lastProbeTime ?? '');
  const started = sidecarStartOf(pod);
  if (Number.isNaN(at) || started === undefined || at < Date.parse(started)) return undefined;
  return { status, reason, message, at };
}

/** When the sidecar's container was started, while it runs (RFC 3339, whole seconds). */
export function sidecarStartOf({ status }: Pod): string | undefined {
  const found = [...status.initContainerStatuses, ...status.containerStatuses].find(({ name }) => name === SIDECAR_NAME);
  return found?.state?.running?.startedAt;
}
