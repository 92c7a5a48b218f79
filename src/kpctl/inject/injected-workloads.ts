import { pods as podResource, type Pod } from '../../cluster/resources.ts';
import { templatedResources, templatedTypes, type Templated, type TemplatedType } from '../../cluster/templates.ts';
import type { Cluster } from '../../cluster/types.ts';
import { isAlive } from '../../cluster/workloads.ts';
import { INJECT_LABEL, INJECTED_LABEL } from '../../operator/injection/index.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { controllerNamed } from './targets.ts';

/** Something with a sidecar by injection, or with the label that asks for it. */
export interface InjectedWorkload {
  /** `pod`: one that was made without a template, or by something that is no workload of Kubernetes' own. */
  readonly type: TemplatedType | 'pod';
  readonly name: string;
  readonly namespace: string;
  /** Its template asks for injection. */
  readonly labelled: boolean;
  /** Names of its injected pods that are alive. */
  readonly pods: readonly string[];
  /** False: it has no template that could be changed (a Job, a Pod): it has to be deleted and made again. */
  readonly ejectable: boolean;
}

/** Every workload that carries a sidecar by injection or asks for one, in one namespace or in all. Sorted by namespace and name. */
export async function injectedWorkloads(
  cluster: Cluster,
  options: AbortOptions & { readonly namespace?: string } = {},
): Promise<readonly InjectedWorkload[]> {
  const [listed, injected] = await Promise.all([
    Promise.all(templatedTypes.map(async (type) => ({ type, objects: await cluster.list(templatedResources[type], options) }))),
    cluster.list(podResource, { ...options, labelSelector: `${INJECTED_LABEL}=true` }),
  ]);
  const owned = byOwner(injected.filter(isAlive), listed.find(({ type }) => type === 'replicaset')?.objects ?? []);
  const found = listed.flatMap(({ type, objects }) =>
    objects
      .filter(({ metadata }) => controllerNamed(metadata) === undefined || (type !== 'replicaset' && type !== 'job'))
      .map((object) => summary(type, object, owned)),
  );
  // What is left was made by a Job of a CronJob, by an owner of another kind, or by hand.
  const orphans = [...owned.values()].flat().map(({ metadata }): InjectedWorkload => ({
    type: 'pod',
    name: metadata.name,
    namespace: metadata.namespace ?? cluster.namespace,
    labelled: metadata.labels[INJECT_LABEL] === 'enabled',
    pods: [metadata.name],
    ejectable: false,
  }));
  return [...found.filter(({ labelled, pods }) => labelled || pods.length > 0), ...orphans].toSorted(
    (one, other) => one.namespace.localeCompare(other.namespace) || one.name.localeCompare(other.name),
  );
}

function summary(type: TemplatedType, { metadata, spec }: Templated, owned: Map<string, Pod[]>): InjectedWorkload {
  const own = owned.get(metadata.uid ?? '') ?? [];
  owned.delete(metadata.uid ?? '');
  return {
    type,
    name: metadata.name,
    namespace: metadata.namespace ?? '',
    labelled: spec.template.metadata.labels[INJECT_LABEL] === 'enabled',
    pods: own.map((pod) => pod.metadata.name).toSorted(),
    ejectable: type !== 'job',
  };
}

/** Pods by the uid of what made them, a Deployment's under the Deployment's. */
function byOwner(pods: readonly Pod[], sets: readonly Pick<Templated, 'metadata'>[]): Map<string, Pod[]> {
  const above = new Map(sets.map(({ metadata }) => [metadata.uid ?? '', controllerUid(metadata)]));
  const owned = new Map<string, Pod[]>();
  for (const pod of pods) {
    const uid = controllerUid(pod.metadata);
    const owner = uid === undefined ? (pod.metadata.uid ?? pod.metadata.name) : (above.get(uid) ?? uid);
    owned.set(owner, [...(owned.get(owner) ?? []), pod]);
  }
  return owned;
}

function controllerUid({ ownerReferences }: Templated['metadata'] | Pod['metadata']): string | undefined {
  return ownerReferences.find(({ controller }) => controller === true)?.uid;
}
