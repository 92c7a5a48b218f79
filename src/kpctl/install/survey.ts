import type { AnyKind, StoredObject } from '../../cluster/manifests.ts';
import type { Cluster } from '../../cluster/types.ts';
import { PART_OF_LABELS } from '../../operator/names.ts';
import { MANAGED_BY_LABEL } from '../../operator/manifests/index.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { installedKinds } from './kinds.ts';

/** An object that an installation has made. */
export interface Installed {
  readonly kind: AnyKind;
  readonly object: StoredObject;
}

/** What is installed in the cluster, in the order of `installedKinds`, whoever did it: kpctl, Helm. */
export async function surveyInstallation(cluster: Cluster, options: AbortOptions = {}): Promise<readonly Installed[]> {
  const labelSelector = `${Object.entries(PART_OF_LABELS)
    .map(([key, value]) => `${key}=${value}`)
    .join(',')},${MANAGED_BY_LABEL} in (kpctl,Helm)`;
  const found = await Promise.all(
    Object.values(installedKinds).map(async (kind) => {
      const objects = await cluster.list(kind, { labelSelector, ...options });
      return objects.map((object): Installed => ({ kind, object }));
    }),
  );
  return found.flat();
}

/** The namespaces that something is installed in, by its ServiceAccounts and Deployments; those that are going do not count. */
export function namespacesOf(installed: readonly Installed[]): readonly string[] {
  const telling = new Set<AnyKind>([installedKinds.serviceAccount, installedKinds.deployment]);
  const found = installed.flatMap(({ kind, object: { metadata } }) =>
    telling.has(kind) && metadata.namespace !== undefined && metadata.deletionTimestamp === undefined ? [metadata.namespace] : [],
  );
  return [...new Set(found)].toSorted();
}

const RELEASE_ANNOTATION = 'meta.helm.sh/release-name';
const RELEASE_NAMESPACE_ANNOTATION = 'meta.helm.sh/release-namespace';

/**
 * Throws a Failure INSTALL_HELM where the chart was installed: two installers would undo each other's changes. `remedy`: by the name and the namespace of
 * the release.
 */
export function refuseHelm(installed: readonly Installed[], remedy: (release: string) => string): void {
  const ofHelm = installed.filter(({ object: { metadata } }) => metadata.labels[MANAGED_BY_LABEL] === 'Helm');
  if (ofHelm.length === 0) return;
  const annotations = ofHelm.map(({ object }) => object.metadata.annotations).find((each) => each[RELEASE_ANNOTATION] !== undefined);
  if (annotations === undefined) {
    throw new Failure('INSTALL_HELM', 'kpeering was installed from its Helm chart, though not by Helm itself', {
      likely: 'by Argo CD or another tool that renders charts',
      remedy: 'change it there',
    });
  }
  const release = `${annotations[RELEASE_ANNOTATION]} -n ${annotations[RELEASE_NAMESPACE_ANNOTATION]}`;
  throw new Failure('INSTALL_HELM', `kpeering was installed by Helm, as release ${release.replace(' -n ', ' in namespace ')}`, {
    remedy: remedy(release),
  });
}
