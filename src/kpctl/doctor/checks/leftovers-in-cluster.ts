import { leases, type Lease } from '../../../cluster/leases.ts';
import type { Pod } from '../../../cluster/resources.ts';
import { templatedResources } from '../../../cluster/templates.ts';
import type { Cluster } from '../../../cluster/types.ts';
import { INJECTED_LABEL } from '../../../operator/injection/index.ts';
import {
  LEASE_SECONDS,
  leaseOf,
  REPLACED_LABEL,
  replaceableTypes,
  SESSION_LABEL,
  WORKLOAD_ANNOTATION,
} from '../../../operator/replace/session.ts';
import type { AbortOptions } from '../../../platform/abort.ts';
import { clusterCheck } from '../examination.ts';
import { note, ok, warning, type Seen } from '../finding.ts';
import { visible, type Installation } from '../installation.ts';
import { restartOf, subjectOf } from '../subjects.ts';

/** What of kpeering is in the namespace and serves nobody any more. */
export const leftoversInClusterCheck = clusterCheck('left-in-cluster', async ({ cluster }, examination, options) => {
  const [pods, installation, replaced] = await Promise.all([
    examination.pods(),
    examination.installation(),
    replacements(cluster, options),
  ]);
  const seen = [...replaced, ...pods.flatMap((pod) => [...withoutOperator(pod, installation), ...ephemeral(pod)])];
  return seen.length > 0 ? seen : [ok(`nothing is left over in namespace ${cluster.namespace}`)];
});

/** Replaced containers whose kpctl is gone: the operator restores them, when it runs. */
async function replacements(cluster: Cluster, options: Required<AbortOptions>): Promise<readonly Seen[]> {
  const { namespace } = cluster;
  const [sessions, ...workloads] = await Promise.all([
    visible(cluster.list(leases, { namespace, labelSelector: `${SESSION_LABEL}=true`, ...options })),
    ...replaceableTypes.map(async (type) => ({
      type,
      found: await visible(cluster.list(templatedResources[type], { namespace, labelSelector: `${REPLACED_LABEL}=true`, ...options })),
    })),
  ]);
  const known = typeof sessions === 'string' ? [] : sessions;
  const orphans = workloads.flatMap(({ type, found }) =>
    typeof found === 'string' || typeof sessions === 'string'
      ? []
      : found
          .filter((object) => !known.some(({ metadata }) => metadata.name === leaseOf(object)))
          .map(({ metadata }) => `${type}/${metadata.name}`),
  );
  const lapsed = known.filter(isLapsed).map(({ metadata }) => metadata.annotations[WORKLOAD_ANNOTATION] ?? metadata.name);
  const fix = 'the operator puts the original back within half a minute, when it runs; else kpctl eject WORKLOAD, or kubectl rollout undo';
  return [...new Set([...orphans, ...lapsed])].map((workload) =>
    warning('a container of it is replaced, and the kpctl that did it is gone', fix, workload),
  );
}

function isLapsed({ spec }: Lease): boolean {
  const { renewTime, leaseDurationSeconds = LEASE_SECONDS } = spec;
  // twice, since clocks differ
  return renewTime === undefined || Date.now() - Date.parse(renewTime) > leaseDurationSeconds * 2_000;
}

function withoutOperator(pod: Pod, { operator }: Installation): readonly Seen[] {
  if (operator !== 'missing' || pod.metadata.labels[INJECTED_LABEL] !== 'true') return [];
  const fix = 'install it again (kpctl install), or take kpeering out of the pods: kpctl eject WORKLOAD';
  return [warning('it is injected, and there is no operator in this cluster any more', fix, subjectOf(pod))];
}

/** Entries of ephemeral containers stay in a pod as long as it lives. */
function ephemeral(pod: Pod): readonly Seen[] {
  const entries = pod.spec.ephemeralContainers.filter(({ name }) => name.startsWith('kpeering'));
  if (entries.length === 0) return [];
  const running = pod.status.ephemeralContainerStatuses.filter(
    ({ name, state }) => name.startsWith('kpeering') && state?.running != null,
  ).length;
  const said = running > 0 ? 'one of them runs, idle or in use, and ends after an hour unused' : 'none of them runs';
  const plural = entries.length === 1 ? 'entry' : 'entries';
  return [
    note(
      `${entries.length} ${plural} of ephemeral containers of ours; ${said}`,
      `they stay until the pod is replaced: ${restartOf(pod)}`,
      subjectOf(pod),
    ),
  ];
}
