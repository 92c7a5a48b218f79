import { pods as podResource } from '../../../cluster/resources.ts';
import { leases } from '../../../cluster/leases.ts';
import type { Cluster } from '../../../cluster/types.ts';
import { OPERATOR_NAME } from '../../../operator/names.ts';
import type { AbortOptions } from '../../../platform/abort.ts';
import { clusterCheck } from '../examination.ts';
import { note, ok, problem, unknown, warning, type Seen } from '../finding.ts';
import { visible, type Installation, type Installed } from '../installation.ts';

/** Whether kpeering is installed, and its operator and gateway run. */
export const operatorCheck = clusterCheck('operator', async ({ cluster }, examination, options) => {
  const installation = await examination.installation();
  const { operator, gateway, namespace } = installation;
  return [
    ...(typeof operator === 'string' ? [notSeen(operator, installation)] : await operatorState(cluster, operator, namespace, options)),
    ...gatewayState(gateway, installation),
  ];
});

function notSeen(operator: 'missing' | 'hidden', { namespace, webhook }: Installation): Seen {
  if (operator === 'hidden') {
    return unknown(`you may not look into namespace ${namespace}, where the operator would be; the check webhook tells whether it answers`);
  }
  if (webhook !== 'missing' && webhook !== 'hidden') {
    return problem(
      `there is the webhook's configuration, and no operator in namespace ${namespace}: nothing is injected`,
      'install it again: kpctl install; or remove what is left of it: kpctl uninstall',
    );
  }
  return problem(
    `kpeering is not installed in this cluster (no operator in namespace ${namespace})`,
    'run "kpctl install", or ask who may; without it there is kpctl intercept --ephemeral',
  );
}

async function operatorState(
  cluster: Cluster,
  { spec, status }: Installed,
  namespace: string,
  options: Required<AbortOptions>,
): Promise<readonly Seen[]> {
  const wanted = spec.replicas ?? 1;
  const ready = status.readyReplicas ?? 0;
  const fix = `kubectl -n ${namespace} get pods -l kpeering.io/role=operator; kpctl logs operator`;
  if (wanted === 0) {
    return [
      problem(
        'the operator is scaled to 0: pods start without kpeering',
        `kubectl -n ${namespace} scale deployment/${OPERATOR_NAME} --replicas=2`,
      ),
    ];
  }
  if (ready === 0) {
    const why = await whyNotReady(cluster, namespace, options);
    return [problem(`the operator is down: none of its ${wanted} pods is ready${why}; pods that start now start without kpeering`, fix)];
  }
  const seen =
    ready < wanted
      ? warning(`${ready} of ${wanted} pods of the operator are ready`, fix)
      : ok(`${ready} of ${wanted} pods ready in namespace ${namespace}`);
  return [seen, ...(await leaderState(cluster, namespace, options))];
}

/** `: kpeering-operator-x is ImagePullBackOff`. */
async function whyNotReady(cluster: Cluster, namespace: string, options: Required<AbortOptions>): Promise<string> {
  const found = await visible(cluster.list(podResource, { namespace, labelSelector: 'kpeering.io/role=operator', ...options }));
  if (typeof found === 'string' || found.length === 0) return '';
  const states = found.map(({ metadata, status }) => {
    const waiting = status.containerStatuses.find(({ state }) => state?.waiting != null)?.state?.waiting?.reason;
    const unscheduled = status.conditions.find((condition) => condition.type === 'PodScheduled' && condition.status === 'False')?.message;
    return `${metadata.name} is ${waiting ?? unscheduled ?? status.phase ?? 'in no known phase'}`;
  });
  return ` (${states.join(', ')})`;
}

/** What is done once (certificates, proofs of the capture, restoring replaced containers) needs a leader. */
async function leaderState(cluster: Cluster, namespace: string, options: Required<AbortOptions>): Promise<readonly Seen[]> {
  const lease = await visible(cluster.get(leases, OPERATOR_NAME, { namespace, ...options }));
  if (lease === 'hidden') return [];
  const fix = `kpctl logs operator; kubectl -n ${namespace} get lease ${OPERATOR_NAME} -o yaml`;
  if (lease === 'missing') return [warning('no pod of the operator leads: certificates are not renewed, and captures not proved', fix)];
  const { holderIdentity, renewTime, leaseDurationSeconds = 15 } = lease.spec;
  const age = renewTime === undefined ? Infinity : Date.now() - Date.parse(renewTime);
  // twice, since clocks differ
  if (holderIdentity !== undefined && age < leaseDurationSeconds * 2_000) return [];
  return [warning('no pod of the operator leads now: certificates are not renewed, and captures not proved', fix)];
}

function gatewayState(gateway: Installation['gateway'], { namespace, operator }: Installation): readonly Seen[] {
  if (gateway === 'hidden' || (gateway === 'missing' && typeof operator === 'string')) return [];
  if (gateway === 'missing')
    return [note('there is no gateway: kpctl run and up need -w WORKLOAD', 'kpctl install --set gateway.enabled=true')];
  const wanted = gateway.spec.replicas ?? 1;
  const ready = gateway.status.readyReplicas ?? 0;
  if (ready === 0 && wanted > 0) {
    return [
      warning(
        'the gateway is down: kpctl run and up need -w WORKLOAD',
        `kubectl -n ${namespace} get pods -l kpeering.io/role=gateway; kpctl logs gateway`,
      ),
    ];
  }
  if (ready < wanted) {
    return [
      warning(
        `gateway: ${ready} of ${wanted} pods are ready`,
        `kubectl -n ${namespace} get pods -l kpeering.io/role=gateway; kpctl logs gateway`,
      ),
    ];
  }
  if (wanted > 1) return [ok(`gateway: ${ready} of ${wanted} pods ready`)];
  return [
    ok('gateway: 1 of 1 pod ready; when it ends, new calls wait for its successor (kpctl install --gateway-replicas 2: they need not)'),
  ];
}
