import { randomUUID } from 'node:crypto';
import type { Workload } from '../objects/schemas.ts';
import type { Store } from '../objects/store.ts';
import { hashSuffix, randomSuffix } from './names.ts';
import { createPod, isReady, isTerminating, ownerReference, podsOf, terminatePod } from './pods.ts';

const templateHashLabel = 'pod-template-hash';
const revisionLabel = 'controller-revision-hash';

/** One step of all workload controllers: makes and ends what the objects ask for, and writes their statuses. */
export function reconcileWorkloads(store: Store): void {
  for (const deployment of store.deployments.list()) reconcileDeployment(store, deployment);
  for (const replicaSet of store.replicaSets.list()) reconcileReplicaSet(store, replicaSet);
  for (const statefulSet of store.statefulSets.list()) reconcileStatefulSet(store, statefulSet);
  reconcileDaemonSets(store);
  reconcileJobs(store);
  collectGarbage(store);
}

/** A new template is a new ReplicaSet; the old ones keep their pods until the new one's are ready. */
function reconcileDeployment(store: Store, deployment: Workload): void {
  const { metadata, spec } = deployment;
  const namespace = metadata.namespace ?? '';
  const hash = hashSuffix(spec.template);
  const name = `${metadata.name}-${hash}`;
  const owned = store.replicaSets.list(namespace).filter((one) => one.metadata.ownerReferences.some(({ uid }) => uid === metadata.uid));
  const labels = { ...spec.template.metadata.labels, [templateHashLabel]: hash };
  const current = owned.find((one) => one.metadata.name === name);
  const replicaSet = store.replicaSets.put({
    ...(current ?? { apiVersion: 'apps/v1', kind: 'ReplicaSet', status: {} }),
    metadata: current?.metadata ?? {
      name,
      namespace,
      uid: randomUUID(),
      resourceVersion: '',
      generation: 1,
      creationTimestamp: '',
      labels,
      annotations: {},
      ownerReferences: [ownerReference(deployment)],
    },
    spec: {
      replicas: spec.replicas,
      selector: { ...spec.selector, matchLabels: { ...spec.selector.matchLabels, [templateHashLabel]: hash } },
      template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
    },
  });
  const ready = replicaSet.status.readyReplicas ?? 0;
  for (const old of owned) {
    if (old.metadata.name === name || ready < spec.replicas || old.spec.replicas === 0) continue;
    store.replicaSets.put({ ...old, spec: { ...old.spec, replicas: 0 } });
  }
  const all = store.replicaSets.list(namespace).filter((one) => one.metadata.ownerReferences.some(({ uid }) => uid === metadata.uid));
  const sum = (key: 'replicas' | 'readyReplicas'): number => all.reduce((total, { status }) => total + (status[key] ?? 0), 0);
  const available = ready >= spec.replicas;
  store.deployments.put({
    ...deployment,
    status: {
      observedGeneration: metadata.generation,
      replicas: sum('replicas'),
      updatedReplicas: replicaSet.status.replicas ?? 0,
      readyReplicas: sum('readyReplicas'),
      availableReplicas: sum('readyReplicas'),
      unavailableReplicas: Math.max(0, spec.replicas - ready),
      conditions: [
        {
          type: 'Available',
          status: available ? 'True' : 'False',
          reason: available ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
        },
      ],
    },
  });
}

function reconcileReplicaSet(store: Store, replicaSet: Workload): void {
  const { metadata, spec } = replicaSet;
  const pods = podsOf(store, replicaSet);
  const active = pods.filter((pod) => !isTerminating(pod) && pod.status.phase !== 'Failed' && pod.status.phase !== 'Succeeded');
  for (let missing = spec.replicas - active.length; missing > 0; missing--) {
    createPod(store, replicaSet, spec.template, `${metadata.name}-${randomSuffix()}`);
  }
  // Those that are not ready go first.
  const surplus = active
    .toSorted((one, other) => Number(isReady(one)) - Number(isReady(other)))
    .slice(0, Math.max(0, active.length - spec.replicas));
  for (const pod of surplus) terminatePod(store, pod);
  writeReplicaStatus(store, 'replicaSets', replicaSet);
}

/** Pods `NAME-0`, `NAME-1`…, each once the one before is ready; replaced from the last when the template changes. */
function reconcileStatefulSet(store: Store, statefulSet: Workload): void {
  const { metadata, spec } = statefulSet;
  const hash = hashSuffix(spec.template);
  const pods = podsOf(store, statefulSet);
  const byName = new Map(pods.map((pod) => [pod.metadata.name, pod]));
  for (let ordinal = 0; ordinal < spec.replicas; ordinal++) {
    const name = `${metadata.name}-${ordinal}`;
    const pod = byName.get(name);
    if (pod === undefined) {
      const template = {
        ...spec.template,
        spec: { ...spec.template.spec, hostname: name, ...(spec.serviceName !== undefined && { subdomain: spec.serviceName }) },
      };
      const labels = {
        'statefulset.kubernetes.io/pod-name': name,
        'apps.kubernetes.io/pod-index': String(ordinal),
        [revisionLabel]: `${metadata.name}-${hash}`,
      };
      createPod(store, statefulSet, template, name, labels);
    }
    if (pod === undefined || isTerminating(pod) || !isReady(pod)) break;
  }
  const wanted = (name: string): boolean => Number(name.slice(metadata.name.length + 1)) < spec.replicas;
  const outdated = pods
    .filter((pod) => !wanted(pod.metadata.name) || pod.metadata.labels[revisionLabel] !== `${metadata.name}-${hash}`)
    .toSorted((one, other) => other.metadata.name.localeCompare(one.metadata.name, 'en', { numeric: true }));
  const [last] = outdated;
  if (last !== undefined && pods.every((pod) => !isTerminating(pod))) terminatePod(store, last);
  writeReplicaStatus(store, 'statefulSets', statefulSet);
}

function writeReplicaStatus(store: Store, collection: 'replicaSets' | 'statefulSets', owner: Workload): void {
  const pods = podsOf(store, owner).filter((pod) => !isTerminating(pod));
  const ready = pods.filter(isReady).length;
  const status = { observedGeneration: owner.metadata.generation, replicas: pods.length, readyReplicas: ready, availableReplicas: ready };
  store[collection].put({ ...owner, status });
}

/** One pod, since the lab has one node. */
function reconcileDaemonSets(store: Store): void {
  for (const daemonSet of store.daemonSets.list()) {
    const pods = podsOf(store, daemonSet).filter((pod) => !isTerminating(pod));
    const hash = hashSuffix(daemonSet.spec.template);
    if (pods.length === 0) {
      createPod(store, daemonSet, daemonSet.spec.template, `${daemonSet.metadata.name}-${randomSuffix()}`, { [revisionLabel]: hash });
    }
    for (const pod of pods) if (pod.metadata.labels[revisionLabel] !== hash) terminatePod(store, pod);
    const ready = pods.filter(isReady).length;
    const status = { desiredNumberScheduled: 1, currentNumberScheduled: pods.length, numberReady: ready, numberAvailable: ready };
    store.daemonSets.put({ ...daemonSet, status });
  }
}

/** One pod until one succeeds, or `backoffLimit` have failed. */
function reconcileJobs(store: Store): void {
  for (const job of store.jobs.list()) {
    const pods = podsOf(store, job);
    const count = (phase: string): number => pods.filter((pod) => pod.status.phase === phase).length;
    const [succeeded, failed] = [count('Succeeded'), count('Failed')];
    const active = pods.length - succeeded - failed;
    const over = failed > job.spec.backoffLimit ? 'Failed' : succeeded > 0 ? 'Complete' : undefined;
    if (over === undefined && active === 0) {
      createPod(store, job, job.spec.template, `${job.metadata.name}-${randomSuffix()}`, {
        'batch.kubernetes.io/job-name': job.metadata.name,
        'job-name': job.metadata.name,
      });
    }
    const conditions = over === undefined ? [] : [{ type: over, status: 'True' }];
    store.jobs.put({ ...job, status: { active, succeeded, failed, conditions } });
  }
}

/** What belonged to an object that is gone goes, too. */
function collectGarbage(store: Store): void {
  const owners = [store.deployments, store.replicaSets, store.statefulSets, store.daemonSets, store.jobs, store.services];
  const present = new Set(owners.flatMap((collection) => collection.list().map(({ metadata }) => metadata.uid)));
  const orphaned = ({ metadata }: { readonly metadata: Workload['metadata'] }): boolean =>
    metadata.ownerReferences.length > 0 && metadata.ownerReferences.every(({ uid }) => !present.has(uid));
  for (const one of store.replicaSets.list().filter(orphaned)) store.replicaSets.delete(one.metadata.namespace ?? '', one.metadata.name);
  for (const pod of store.pods.list().filter(orphaned)) terminatePod(store, pod);
  for (const slice of store.endpointSlices.list().filter(orphaned))
    store.endpointSlices.delete(slice.metadata.namespace ?? '', slice.metadata.name);
}
