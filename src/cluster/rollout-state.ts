import type { Templated, TemplatedType } from './templates.ts';

/** How far the pods of a workload have followed its template. */
export interface RolloutState {
  readonly kind:
    /** Every pod is of the template as it is now, and available. */
    | 'done'
    | 'under-way'
    /** Its controller has given up waiting (a Deployment's progressDeadlineSeconds). */
    | 'failed'
    /** It is paused: nothing happens until it is resumed. */
    | 'paused'
    /** Its pods follow when somebody deletes them (OnDelete, a ReplicaSet), or as they come (a Job). */
    | 'by-hand';
  /** `2 of 3 pods are of the new template` */
  readonly text: string;
}

/**
 * Reads a workload's status as `kubectl rollout status` does (k8s.io/kubectl, pkg/polymorphichelpers/rollout_status.go), for every strategy.
 * `before`: the workload before its template was changed: that its controller had given up then says nothing of the rollout since, and stands in
 * the status until that has begun to move.
 */
export function rolloutState(type: TemplatedType, object: Templated, before?: Templated): RolloutState {
  const { spec } = object;
  if (!rollsByItself(type, object)) return { kind: 'by-hand', text: 'its pods follow when they are replaced by hand' };
  if (type === 'deployment' && spec.paused === true) return { kind: 'paused', text: 'it is paused' };
  if ((object.status.observedGeneration ?? 0) < (object.metadata.generation ?? 0)) return underWay('its controller has not begun');
  if (type === 'deployment') return deploymentState(object, before);
  return type === 'daemonset' ? daemonSetState(object) : statefulSetState(object);
}

/** False where pods stay as they are when the template changes: OnDelete, a ReplicaSet, a Job. */
export function rollsByItself(type: TemplatedType, { spec }: Templated): boolean {
  return type !== 'replicaset' && type !== 'job' && spec.updateStrategy?.type !== 'OnDelete';
}

/** How many pods it is to have; undefined where that is not said (a DaemonSet whose controller has not looked at it, a Job). */
export function desiredPods(type: TemplatedType, { spec, status }: Templated): number | undefined {
  if (type === 'job') return undefined;
  return type === 'daemonset' ? status.desiredNumberScheduled : (spec.replicas ?? 1);
}

function deploymentState(object: Templated, before: Templated | undefined): RolloutState {
  const { spec, status } = object;
  const desired = spec.replicas ?? 1;
  const { updatedReplicas: updated = 0, replicas = 0, availableReplicas: available = 0 } = status;
  const progressing = progressOf(object);
  if (progressing?.reason === 'ProgressDeadlineExceeded' && !isOfBefore(object, before)) {
    return { kind: 'failed', text: progressing.message ?? 'it has exceeded its progress deadline' };
  }
  if (updated < desired) return underWay(`${updated} of ${desired} pods are of the new template`);
  if (replicas > updated) return underWay(`${ofPods(replicas - updated)} of the old template still to end`);
  if (available < updated) return underWay(`${available} of ${updated} new pods are available`);
  return done(desired);
}

function progressOf({ status }: Templated) {
  return status.conditions.find(({ type }) => type === 'Progressing');
}

/** Whether the condition is that of the rollout before the change. */
function isOfBefore(object: Templated, before: Templated | undefined): boolean {
  if (before === undefined || object.metadata.generation === before.metadata.generation) return false;
  const [now, then] = [progressOf(object), progressOf(before)];
  return now?.reason === then?.reason && now?.lastUpdateTime === then?.lastUpdateTime;
}

function daemonSetState({ status }: Templated): RolloutState {
  const { desiredNumberScheduled: desired = 0, updatedNumberScheduled: updated = 0, numberAvailable: available = 0 } = status;
  if (updated < desired) return underWay(`${updated} of ${desired} pods are of the new template`);
  if (available < desired) return underWay(`${available} of ${desired} pods are available`);
  return done(desired);
}

function statefulSetState({ spec, status }: Templated): RolloutState {
  const desired = spec.replicas ?? 1;
  const partition = spec.updateStrategy?.rollingUpdate?.partition ?? 0;
  const { updatedReplicas: updated = 0, readyReplicas: ready = 0, availableReplicas = ready } = status;
  const toUpdate = Math.max(0, desired - partition);
  if (ready < desired) return underWay(`${ready} of ${desired} pods are ready`);
  if (partition > 0) {
    if (updated < toUpdate) return underWay(`${updated} of ${toUpdate} pods are of the new template`);
    return { kind: 'done', text: `${ofPods(toUpdate)} of the new template, those below ${partition} kept back by its partition` };
  }
  if (status.updateRevision !== status.currentRevision) return underWay(`${updated} of ${desired} pods are of the new template`);
  if (availableReplicas < desired) return underWay(`${availableReplicas} of ${desired} pods are available`);
  return done(desired);
}

function underWay(text: string): RolloutState {
  return { kind: 'under-way', text };
}

function done(pods: number): RolloutState {
  return { kind: 'done', text: pods === 0 ? 'it has no pods now' : `${ofPods(pods)} of the new template, available` };
}

function ofPods(count: number): string {
  return count === 1 ? '1 pod' : `${count} pods`;
}
