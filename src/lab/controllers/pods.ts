import { podSchema, type LabObject, type Pod, type PodTemplate } from '../objects/schemas.ts';
import type { Store } from '../objects/store.ts';

/** The pods that belong to an object (their controller reference), by name. */
export function podsOf(store: Store, owner: LabObject): Pod[] {
  return store.pods
    .list(owner.metadata.namespace ?? '')
    .filter(({ metadata }) => metadata.ownerReferences.some(({ uid }) => uid === owner.metadata.uid));
}

/** Makes a pod from a template (as the ReplicaSet controller does); the kubelet takes it from there. */
export function createPod(
  store: Store,
  owner: LabObject,
  template: PodTemplate,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): void {
  const namespace = owner.metadata.namespace ?? '';
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels: { ...template.metadata.labels, ...labels },
      annotations: template.metadata.annotations ?? {},
      ownerReferences: [ownerReference(owner)],
    },
    spec: template.spec,
  };
  store.pods.put(podSchema.parse(store.admitPod(pod, namespace)));
}

export function ownerReference({ apiVersion, kind, metadata }: LabObject): Pod['metadata']['ownerReferences'][number] {
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid, controller: true, blockOwnerDeletion: true };
}

/** Marks a pod as ending; the kubelet ends it and removes the object. */
export function terminatePod(store: Store, pod: Pod): void {
  if (pod.metadata.deletionTimestamp !== undefined) return;
  const deletionTimestamp = `${new Date().toISOString().slice(0, 19)}Z`;
  store.pods.put({
    ...pod,
    metadata: { ...pod.metadata, deletionTimestamp, deletionGracePeriodSeconds: pod.spec.terminationGracePeriodSeconds },
  });
}

export function isTerminating(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp !== undefined;
}

export function isReady(pod: Pod): boolean {
  return pod.status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}
