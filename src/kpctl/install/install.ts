import type { Cluster, Manifest } from '../../cluster/types.ts';
import { excludedNamespaces } from '../../operator/settings.ts';
import { installationObjects, type Installation } from '../../operator/manifests/index.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { Terminal } from '../terminal.ts';
import { applyObject, existing, isOurs, type Outcome } from './apply.ts';
import { gone } from './gone.ts';
import { installedKinds, kindOf } from './kinds.ts';
import { waitUntilReady } from './readiness.ts';
import { namespacesOf, refuseHelm, surveyInstallation, type Installed } from './survey.ts';
import { checkWebhook } from './webhook-check.ts';

export interface InstallOptions extends AbortOptions {
  readonly cluster: Cluster;
  readonly terminal: Terminal;
  readonly installation: Installation;
  /** Says what would be done, and does nothing. */
  readonly dryRun: boolean;
  /** For all that is waited for, each. */
  readonly timeoutMilliseconds: number;
}

/**
 * Brings the cluster to what the installation says: server-side apply, object by object, the namespace first; when the operator is ready the webhook's
 * configuration; then what an older version had and this one has not is deleted. What is so already is left as it is, so that it may be run again at any time.
 * Failures: INSTALL_HELM, INSTALL_ELSEWHERE, INSTALL_FOREIGN, INSTALL_NOT_READY, INSTALL_WEBHOOK, INSTALL_TIMEOUT, and those of the API.
 */
export async function install(options: InstallOptions): Promise<readonly Outcome[]> {
  const { cluster, terminal, installation, dryRun, timeoutMilliseconds, signal } = options;
  const abort = signal === undefined ? {} : { signal };
  const { namespace, values } = installation;
  const installed = await surveyInstallation(cluster, abort);
  refuseHelm(installed, (release) => `use "helm upgrade ${release}", or "helm uninstall ${release}" before`);
  refuseElsewhere(installed, namespace);
  const wanted = installationObjects(installation);
  const objects = (await ownsNamespace(cluster, namespace, options)) ? wanted : wanted.filter(({ kind }) => kind !== 'Namespace');
  const [others, last] = [objects.filter((object) => !isLast(object)), objects.filter((object) => isLast(object))];
  const outcomes: Outcome[] = [];
  const apply = async (list: readonly Manifest[]): Promise<void> => {
    for (const object of list) {
      const outcome = await applyObject(cluster, object, { dryRun, ...abort });
      outcomes.push(outcome);
      if (!dryRun && outcome.change !== 'unchanged') terminal.progress(describeOutcome(outcome));
    }
  };
  await apply(others);
  if (!dryRun) {
    const deployments = others.flatMap(({ kind, metadata }) => (kind === 'Deployment' ? (metadata.name ?? []) : []));
    await waitUntilReady(cluster, { terminal, namespace, deployments, timeoutMilliseconds, ...abort });
  }
  await apply(last);
  if (!dryRun) {
    const excluded = excludedNamespaces(values.injection, namespace);
    const untried = await checkWebhook(cluster, { terminal, timeoutMilliseconds, excludedNamespaces: excluded, ...abort });
    if (untried !== undefined) terminal.warn(`whether the API server reaches the webhook could not be tried: ${untried}`);
  }
  for (const { kind, object } of superfluous(installed, wanted)) {
    const { name, namespace: where } = object.metadata;
    const place = where === undefined ? {} : { namespace: where };
    if (!dryRun) await existing(cluster.delete(kind, name, { propagation: 'Background', ...place, ...abort }));
    const outcome: Outcome = { kind: kind.kind, name, ...place, change: 'deleted' };
    outcomes.push(outcome);
    if (!dryRun) terminal.progress(describeOutcome(outcome));
  }
  return outcomes;
}

/** `created Deployment kpeering-operator` */
export function describeOutcome({ change, kind, name }: Outcome): string {
  return `${change} ${kind} ${name}`;
}

/** While the operator is not there yet, pods start as ever. */
function isLast(object: Manifest): boolean {
  return kindOf(object) === installedKinds.webhookConfiguration;
}

/** One operator answers for all of a cluster. */
function refuseElsewhere(installed: readonly Installed[], namespace: string): void {
  const other = namespacesOf(installed).find((found) => found !== namespace);
  if (other === undefined) return;
  throw new Failure('INSTALL_ELSEWHERE', `kpeering is installed in the namespace ${other} already, and a cluster has it once`, {
    remedy: `change it there with "kpctl install --namespace ${other}", or take it away with "kpctl uninstall"`,
  });
}

/**
 * Whether the namespace is made by this installation: it is not there yet, or was made by one. One that somebody else has made is used as it is. One that is
 * going is waited for.
 */
async function ownsNamespace(
  cluster: Cluster,
  namespace: string,
  { terminal, dryRun, timeoutMilliseconds, signal }: InstallOptions,
): Promise<boolean> {
  const abort = signal === undefined ? {} : { signal };
  const found = await existing(cluster.get(installedKinds.namespace, namespace, abort));
  if (found === undefined) return true;
  if (found.metadata.deletionTimestamp === undefined) return isOurs(found);
  if (!dryRun) await gone(cluster, [{ kind: installedKinds.namespace, name: namespace }], { terminal, timeoutMilliseconds, ...abort });
  return true;
}

/** What an older version, or other values, had installed by kpctl. The namespace stays. */
function superfluous(installed: readonly Installed[], wanted: readonly Manifest[]): readonly Installed[] {
  const keys = new Set(wanted.map((object) => keyOf(kindOf(object).kind, object.metadata.name, object.metadata.namespace)));
  return installed.filter(
    ({ kind, object: { metadata } }) => kind !== installedKinds.namespace && !keys.has(keyOf(kind.kind, metadata.name, metadata.namespace)),
  );
}

function keyOf(kind: string, name = '', namespace = ''): string {
  return `${kind} ${namespace}/${name}`;
}
