import { anyKind, type AnyKind, type StoredObject } from '../../cluster/manifests.ts';
import { namespaces, pods as podResource, type Pod } from '../../cluster/resources.ts';
import type { Cluster, ListOptions } from '../../cluster/types.ts';
import { declaredSidecarOf } from '../../cluster/workloads.ts';
import { INJECT_LABEL, NOT_INJECTED_ANNOTATION } from '../../operator/injection/index.ts';
import { PART_OF_LABELS } from '../../operator/names.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { ports } from '../../platform/ports.ts';
import { readHealthPort } from '../workloads/health-port.ts';
import type { Contents } from './contents.ts';
import { collectLogs } from './logs.ts';
import { ourContainers } from './our-containers.ts';
import { collectSidecars } from './sidecars.ts';
import { tried } from './tried.ts';

/** Kinds of kpeering's own objects; Secrets are never asked for. */
const installedKinds: readonly AnyKind[] = [
  anyKind({ kind: 'Deployment', plural: 'deployments', group: 'apps', version: 'v1', namespaced: true }),
  anyKind({ kind: 'ReplicaSet', plural: 'replicasets', group: 'apps', version: 'v1', namespaced: true }),
  anyKind({ kind: 'Service', plural: 'services', group: '', version: 'v1', namespaced: true }),
  anyKind({ kind: 'ServiceAccount', plural: 'serviceaccounts', group: '', version: 'v1', namespaced: true }),
  anyKind({ kind: 'Lease', plural: 'leases', group: 'coordination.k8s.io', version: 'v1', namespaced: true }),
  anyKind({ kind: 'PodDisruptionBudget', plural: 'poddisruptionbudgets', group: 'policy', version: 'v1', namespaced: true }),
];
const clusterKinds: readonly AnyKind[] = [
  anyKind({
    kind: 'MutatingWebhookConfiguration',
    plural: 'mutatingwebhookconfigurations',
    group: 'admissionregistration.k8s.io',
    version: 'v1',
    namespaced: false,
  }),
  anyKind({ kind: 'ClusterRole', plural: 'clusterroles', group: 'rbac.authorization.k8s.io', version: 'v1', namespaced: false }),
  anyKind({
    kind: 'ClusterRoleBinding',
    plural: 'clusterrolebindings',
    group: 'rbac.authorization.k8s.io',
    version: 'v1',
    namespaced: false,
  }),
];
/** What makes the pods that we are in. */
const workloadKinds: readonly AnyKind[] = [
  ...installedKinds.slice(0, 2),
  anyKind({ kind: 'StatefulSet', plural: 'statefulsets', group: 'apps', version: 'v1', namespaced: true }),
  anyKind({ kind: 'DaemonSet', plural: 'daemonsets', group: 'apps', version: 'v1', namespaced: true }),
  anyKind({ kind: 'Job', plural: 'jobs', group: 'batch', version: 'v1', namespaced: true }),
];
const rawPods = anyKind({ kind: 'Pod', plural: 'pods', group: '', version: 'v1', namespaced: true });
const rawEvents = anyKind({ kind: 'Event', plural: 'events', group: '', version: 'v1', namespaced: true });

/** Of each kind and namespace. */
const MOST_PODS = 40;

const selector = Object.entries(PART_OF_LABELS)
  .map(([key, value]) => `${key}=${value}`)
  .join(',');

/** What of kpeering is in the cluster: its own objects and logs, and in each namespace the pods that it is in, with what made them. */
export async function collectCluster(
  cluster: Cluster,
  wanted: { readonly own: string; readonly namespaces: readonly string[] },
  contents: Contents,
  options: AbortOptions,
): Promise<void> {
  await Promise.all([
    ...clusterKinds.map(
      async (kind) => await collectList(cluster, kind, `cluster/${kind.plural}.json`, { labelSelector: selector }, contents, options),
    ),
    collectOwn(cluster, wanted.own, contents, options),
    ...wanted.namespaces
      .filter((name) => name !== wanted.own)
      .map(async (name) => await collectNamespace(cluster, name, contents, options)),
  ]);
}

async function collectOwn(cluster: Cluster, namespace: string, contents: Contents, options: AbortOptions): Promise<void> {
  const folder = `namespaces/${namespace}`;
  await Promise.all(
    [...installedKinds, rawPods].map(async (kind) => {
      // What the operator makes itself has an owner, and not always the label.
      const scope = kind.plural === 'leases' ? { namespace } : { namespace, labelSelector: selector };
      await collectList(cluster, kind, `${folder}/${kind.plural}.json`, scope, contents, options);
    }),
  );
  await collectList(cluster, rawEvents, `${folder}/events.json`, { namespace }, contents, options);
  const found = await tried(`pods of ${namespace}`, contents, options, async (abort) => {
    return await cluster.list(podResource, { namespace, labelSelector: selector, ...abort });
  });
  const own = (found ?? []).slice(0, MOST_PODS);
  await collectLogs(
    cluster,
    own.map((pod) => ({ pod, containers: ourContainers(pod) })),
    contents,
    options,
  );
  await Promise.all(
    own.map(async ({ metadata: { name } }) => {
      const path = `metrics/${namespace}/${name}.txt`;
      const port = { namespace, name, port: ports.health };
      const text = await tried(path, contents, options, async (abort) => await readHealthPort(cluster, port, '/metrics', abort));
      if (text !== undefined) contents.text(path, text);
    }),
  );
}

async function collectNamespace(cluster: Cluster, namespace: string, contents: Contents, options: AbortOptions): Promise<void> {
  const folder = `namespaces/${namespace}`;
  const [all, raw] = await Promise.all([
    tried(`pods of ${namespace}`, contents, options, async (abort) => await cluster.list(podResource, { namespace, ...abort })),
    tried(`pods of ${namespace}`, contents, options, async (abort) => await cluster.list(rawPods, { namespace, ...abort })),
    collectOne(cluster, namespace, contents, options),
  ]);
  const concerned = (all ?? []).filter(isConcerned);
  if (concerned.length > MOST_PODS) contents.lacks(`${concerned.length - MOST_PODS} more pods of ${namespace}`);
  const chosen = concerned.slice(0, MOST_PODS);
  const names = new Set(chosen.map(({ metadata }) => metadata.name));
  contents.json(
    `${folder}/pods.json`,
    (raw ?? []).filter(({ metadata }) => names.has(metadata.name)),
  );
  await Promise.all([
    collectWorkloads(cluster, namespace, chosen, contents, options),
    collectLogs(
      cluster,
      chosen.map((pod) => ({ pod, containers: ourContainers(pod) })),
      contents,
      options,
    ),
    collectSidecars(cluster, chosen, contents, options),
  ]);
}

/** Pods that kpeering is in, was to be in, or has left alone. */
function isConcerned(pod: Pod): boolean {
  const { labels, annotations } = pod.metadata;
  return (
    declaredSidecarOf(pod) !== undefined ||
    labels[INJECT_LABEL] !== undefined ||
    annotations[NOT_INJECTED_ANNOTATION] !== undefined ||
    pod.spec.ephemeralContainers.some(({ name }) => name.startsWith('kpeering'))
  );
}

/** The workloads above the pods, with their Events and the pods'. */
async function collectWorkloads(
  cluster: Cluster,
  namespace: string,
  pods: readonly Pod[],
  contents: Contents,
  options: AbortOptions,
): Promise<void> {
  const folder = `namespaces/${namespace}`;
  const lists = await Promise.all(
    workloadKinds.map(async (kind) => ({
      kind,
      found:
        (await tried(
          `${kind.plural} of ${namespace}`,
          contents,
          options,
          async (abort) => await cluster.list(kind, { namespace, ...abort }),
        )) ?? [],
    })),
  );
  const owners = new Set(pods.flatMap(({ metadata }) => metadata.ownerReferences.map(({ uid }) => uid)));
  // From ReplicaSets to Deployments.
  for (const { found } of lists) {
    for (const { metadata } of found) if (owners.has(metadata.uid ?? '')) for (const uid of ownersOf(metadata)) owners.add(uid);
  }
  for (const { kind, found } of lists) {
    const above = found.filter(({ metadata }) => owners.has(metadata.uid ?? ''));
    if (above.length > 0) contents.json(`${folder}/${kind.plural}.json`, above);
  }
  const uids = new Set([...owners, ...pods.map(({ metadata }) => metadata.uid ?? '')]);
  const told = await tried(
    `events of ${namespace}`,
    contents,
    options,
    async (abort) => await cluster.list(rawEvents, { namespace, ...abort }),
  );
  const about = (told ?? []).filter((event) => uids.has(involvedUid(event)));
  if (told !== undefined) contents.json(`${folder}/events.json`, about);
}

function ownersOf(metadata: StoredObject['metadata']): readonly string[] {
  const references = metadata['ownerReferences'];
  if (!Array.isArray(references)) return [];
  return references.flatMap((reference: unknown) =>
    typeof reference === 'object' && reference !== null && 'uid' in reference && typeof reference.uid === 'string' ? [reference.uid] : [],
  );
}

function involvedUid(event: StoredObject): string {
  const involved = event['involvedObject'];
  if (typeof involved !== 'object' || involved === null || !('uid' in involved)) return '';
  return typeof involved.uid === 'string' ? involved.uid : '';
}

async function collectOne(cluster: Cluster, namespace: string, contents: Contents, options: AbortOptions): Promise<void> {
  const found = await tried(`namespace ${namespace}`, contents, options, async (abort) => await cluster.get(namespaces, namespace, abort));
  if (found !== undefined) contents.json(`namespaces/${namespace}/namespace.json`, found);
}

async function collectList(
  cluster: Cluster,
  kind: AnyKind,
  path: string,
  scope: Omit<ListOptions, 'signal'>,
  contents: Contents,
  options: AbortOptions,
): Promise<void> {
  const found = await tried(path, contents, options, async (abort) => await cluster.list(kind, { ...scope, ...abort }));
  if (found !== undefined) contents.json(path, found);
}
