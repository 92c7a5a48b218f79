import { secrets } from '../../cluster/resources.ts';
import { leases } from '../../cluster/leases.ts';
import { anyKind, type AnyKind } from '../../cluster/manifests.ts';
import type { Cluster } from '../../cluster/types.ts';
import { CERTIFICATE_SECRET, OPERATOR_NAME, PART_OF_LABELS } from '../../operator/names.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { ejectWorkloads, injectedWorkloads, type InjectedWorkload } from '../inject/index.ts';
import { confirm } from '../intercept/preparation.ts';
import type { Questions } from '../questions.ts';
import type { Terminal } from '../terminal.ts';
import { existing, isOurs, type Outcome } from './apply.ts';
import { gone, type Going } from './gone.ts';
import { installedKinds } from './kinds.ts';
import { namespacesOf, refuseHelm, surveyInstallation } from './survey.ts';

export interface UninstallOptions extends AbortOptions {
  readonly cluster: Cluster;
  readonly terminal: Terminal;
  readonly questions: Questions;
  /** Where it is; undefined: to be found. */
  readonly namespace: string | undefined;
  /** Workloads with a sidecar are ejected first. */
  readonly eject: boolean;
  /** Workloads with a sidecar, and a namespace with others' pods, are no reason to stop. */
  readonly force: boolean;
  readonly yes: boolean;
  /** For all that is waited for, each. */
  readonly timeoutMilliseconds: number;
}

const DEFAULT_NAMESPACE = 'kpeering-system';
const early = new Set<AnyKind>([installedKinds.webhookConfiguration, installedKinds.deployment, installedKinds.namespace]);

/**
 * Takes everything away that an installation by kpctl has made, whatever is left of it, and waits until it is gone: the webhook's configuration first, so that no
 * pod's start waits for an operator that is going; the namespace last, where the installation has made it. Answers what was deleted: nothing where nothing was.
 * Failures: INSTALL_HELM, UNINSTALL_SIDECARS, UNINSTALL_NAMESPACE, UNINSTALL_TIMEOUT, CONFIRMATION_REQUIRED, DECLINED, and those of the rollouts and the API.
 */
export async function uninstall(options: UninstallOptions): Promise<readonly Outcome[]> {
  const { cluster, terminal, eject, force, timeoutMilliseconds, signal } = options;
  const abort = signal === undefined ? {} : { signal };
  const installed = await surveyInstallation(cluster, abort);
  refuseHelm(installed, (release) => `use "helm uninstall ${release}"; before that "kpctl eject" takes out the sidecars`);
  const namespace = chosenNamespace(options.namespace, namespacesOf(installed));
  const own = await existing(cluster.get(installedKinds.namespace, namespace, abort));
  const ownsNamespace = own !== undefined && isOurs(own);
  if (installed.length === 0 && !ownsNamespace) return [];

  if (ownsNamespace && !force) await refuseOthersPods(cluster, namespace, abort);
  const workloads = await lastingWorkloads(cluster, abort);
  const carriers = workloads.filter(({ pods }) => pods.length > 0);
  if (carriers.length > 0 && !eject && !force) throw sidecarsLeft(carriers);
  if (eject && !force) refuseStuck(carriers);
  await confirm(options, questionOf(options, namespace, eject ? carriers : []));

  const deleted: Outcome[] = [];
  const remove = async (list: readonly Going[]): Promise<void> => {
    for (const { kind, name, namespace: where } of list) {
      const place = where === undefined ? {} : { namespace: where };
      // Foreground: it is there until its pods have gone.
      const begun = existing(cluster.delete(kind, name, { propagation: 'Foreground', ...place, ...abort }).then(() => true));
      if ((await begun) === true) deleted.push({ kind: kind.kind, name, ...place, change: 'deleted' });
    }
    await gone(cluster, list, { terminal, timeoutMilliseconds, ...abort });
    for (const { kind, name } of list) terminal.progress(`deleted ${kind.kind} ${name}`);
  };
  const objects = installed.map(({ kind, object: { metadata } }): Going => {
    return { kind, name: metadata.name, ...(metadata.namespace !== undefined && { namespace: metadata.namespace }) };
  });
  await remove(objects.filter(({ kind }) => kind === installedKinds.webhookConfiguration));
  // Nobody injects any more, and the operator is still there to put back what a session has replaced.
  if (eject) await ejectWorkloads({ ...options, yes: true }, workloads, { wait: true, timeoutMilliseconds, withoutOperator: true });
  await remove(objects.filter(({ kind }) => kind === installedKinds.deployment));
  await remove([...(await madeByOperator(cluster, namespace, abort)), ...objects.filter(({ kind }) => !early.has(kind)).toReversed()]);
  if (ownsNamespace) await remove([{ kind: installedKinds.namespace, name: namespace }]);
  return deleted;
}

function chosenNamespace(asked: string | undefined, found: readonly string[]): string {
  if (asked === undefined || found.length === 0 || found.includes(asked)) return asked ?? found[0] ?? DEFAULT_NAMESPACE;
  throw new Failure('INSTALL_ELSEWHERE', `kpeering is not installed in the namespace ${asked}, but in ${found.join(' and ')}`, {
    remedy: 'leave --namespace out',
  });
}

/**
 * What the operator and the laptops have made: the certificate and the Lease of the leader, which go with the operator's Deployment where that was there, and
 * Leases of sessions in other namespaces.
 */
async function madeByOperator(cluster: Cluster, namespace: string, abort: AbortOptions): Promise<readonly Going[]> {
  const labelSelector = Object.entries(PART_OF_LABELS)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  const found = await Promise.all([
    existing(cluster.get(secrets, CERTIFICATE_SECRET, { namespace, ...abort })),
    existing(cluster.get(leases, OPERATOR_NAME, { namespace, ...abort })),
    cluster.list(leases, { labelSelector, ...abort }),
  ]);
  const [secret, lease, others] = found;
  const going = [
    ...(secret === undefined ? [] : [{ kind: anyKind(secrets), name: secret.metadata.name, namespace }]),
    ...[...(lease === undefined ? [] : [lease]), ...others].map(({ metadata }) => ({
      kind: anyKind(leases),
      name: metadata.name,
      namespace: metadata.namespace ?? namespace,
    })),
  ];
  return [...new Map(going.map((one) => [`${one.kind.kind} ${one.namespace}/${one.name}`, one])).values()];
}

/** Those with a sidecar, or with the label; without those that go with their namespace. */
async function lastingWorkloads(cluster: Cluster, abort: AbortOptions): Promise<readonly InjectedWorkload[]> {
  const [workloads, namespaces] = await Promise.all([injectedWorkloads(cluster, abort), cluster.list(installedKinds.namespace, abort)]);
  const going = new Set(namespaces.flatMap(({ metadata }) => (metadata.deletionTimestamp === undefined ? [] : [metadata.name])));
  return workloads.filter(({ namespace }) => !going.has(namespace));
}

function refuseStuck(carriers: readonly InjectedWorkload[]): void {
  const stuck = carriers.filter(({ ejectable }) => !ejectable);
  if (stuck.length === 0) return;
  throw new Failure(
    'UNINSTALL_SIDECARS',
    `these have no template that could be changed, and carry a sidecar until they end:\n${listOf(stuck)}\n`,
    {
      remedy: 'delete them, or leave them as they are with --force',
    },
  );
}

function sidecarsLeft(carriers: readonly InjectedWorkload[]): Failure {
  return new Failure('UNINSTALL_SIDECARS', `these still carry a sidecar:\n${listOf(carriers)}\n`, {
    remedy: 'eject them with --eject (restarts their pods), or leave them as they are with --force',
  });
}

function listOf(workloads: readonly InjectedWorkload[]): string {
  return workloads
    .map(
      ({ type, name, namespace, pods }) =>
        `  ${type}/${name} in namespace ${namespace} (${pods.length === 1 ? '1 pod' : `${pods.length} pods`})`,
    )
    .join('\n');
}

function questionOf({ cluster }: UninstallOptions, namespace: string, ejected: readonly InjectedWorkload[]): string {
  const restarts = ejected.length === 0 ? '' : `restarts the pods of\n${listOf(ejected)}\nand `;
  return `this ${restarts}takes kpeering out of the cluster ${cluster.context} (namespace ${namespace})`;
}

/** With the namespace its pods would go, too. */
async function refuseOthersPods(cluster: Cluster, namespace: string, abort: AbortOptions): Promise<void> {
  const labelSelector = Object.entries(PART_OF_LABELS)
    .map(([key, value]) => `${key}!=${value}`)
    .join(',');
  const others = await cluster.list(podKind, { namespace, labelSelector, ...abort });
  if (others.length === 0) return;
  const names = others.map(({ metadata }) => metadata.name).join(', ');
  throw new Failure('UNINSTALL_NAMESPACE', `the namespace ${namespace}, which would be deleted, has pods of others: ${names}`, {
    remedy: 'move them to another namespace, or delete them with it by --force',
  });
}

const podKind = anyKind({ kind: 'Pod', plural: 'pods', group: '', version: 'v1', namespaced: true });
