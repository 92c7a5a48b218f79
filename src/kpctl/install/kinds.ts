import { anyKind, isOfKind, type AnyKind } from '../../cluster/manifests.ts';
import type { Manifest } from '../../cluster/types.ts';

const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1' } as const;
const core = { group: '', version: 'v1' } as const;

/**
 * Every kind of which a version of kpeering has installed something. One that is no longer used stays in the list: updates and `uninstall` look for
 * what an older version has left.
 */
export const installedKinds = {
  namespace: anyKind({ kind: 'Namespace', plural: 'namespaces', ...core, namespaced: false }),
  serviceAccount: anyKind({ kind: 'ServiceAccount', plural: 'serviceaccounts', ...core, namespaced: true }),
  clusterRole: anyKind({ kind: 'ClusterRole', plural: 'clusterroles', ...rbac, namespaced: false }),
  clusterRoleBinding: anyKind({ kind: 'ClusterRoleBinding', plural: 'clusterrolebindings', ...rbac, namespaced: false }),
  role: anyKind({ kind: 'Role', plural: 'roles', ...rbac, namespaced: true }),
  roleBinding: anyKind({ kind: 'RoleBinding', plural: 'rolebindings', ...rbac, namespaced: true }),
  service: anyKind({ kind: 'Service', plural: 'services', ...core, namespaced: true }),
  deployment: anyKind({ kind: 'Deployment', plural: 'deployments', group: 'apps', version: 'v1', namespaced: true }),
  disruptionBudget: anyKind({
    kind: 'PodDisruptionBudget',
    plural: 'poddisruptionbudgets',
    group: 'policy',
    version: 'v1',
    namespaced: true,
  }),
  webhookConfiguration: anyKind({
    kind: 'MutatingWebhookConfiguration',
    plural: 'mutatingwebhookconfigurations',
    group: 'admissionregistration.k8s.io',
    version: 'v1',
    namespaced: false,
  }),
} as const;

/** The kind of an object of ours. */
export function kindOf(manifest: Manifest): AnyKind {
  const found = Object.values(installedKinds).find((kind) => isOfKind(manifest, kind));
  if (found === undefined) throw new Error(`${manifest.apiVersion} ${manifest.kind} is missing in installedKinds`);
  return found;
}
