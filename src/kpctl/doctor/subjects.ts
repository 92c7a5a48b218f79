import type { Pod } from '../../cluster/resources.ts';

/** How findings name a pod. */
export function subjectOf({ metadata }: Pick<Pod, 'metadata'>): string {
  return `pod ${metadata.name}`;
}

/** `deployment/web`: what makes a pod again, as far as the pod itself says; undefined for one that nothing makes again. */
export function makerOf({ metadata }: Pick<Pod, 'metadata'>): string | undefined {
  const owner = metadata.ownerReferences.find(({ controller }) => controller === true);
  if (owner === undefined) return undefined;
  const hash = metadata.labels['pod-template-hash'];
  // A Deployment's ReplicaSet is named after it and the hash of its template.
  if (owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(`-${hash}`)) {
    return `deployment/${owner.name.slice(0, -hash.length - 1)}`;
  }
  return `${owner.kind.toLowerCase()}/${owner.name}`;
}

/** The command that has a pod made anew. */
export function restartOf(pod: Pick<Pod, 'metadata'>): string {
  const maker = makerOf(pod);
  const { namespace = 'default', name } = pod.metadata;
  if (maker === undefined) return `make it anew: kubectl -n ${namespace} get pod ${name} -o yaml says its manifest`;
  const [type = ''] = maker.split('/');
  if (!['deployment', 'statefulset', 'daemonset'].includes(type))
    return `kubectl -n ${namespace} delete pod ${name}: its ${maker} makes it anew`;
  return `kubectl -n ${namespace} rollout restart ${maker}`;
}
