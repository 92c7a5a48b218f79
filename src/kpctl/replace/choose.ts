import { podSchema } from '../../cluster/pods.ts';
import { rollsByItself } from '../../cluster/rollout-state.ts';
import { workloadLabel, type Workload } from '../../cluster/workloads.ts';
import { INIT_NAME, INJECT_LABEL, SIDECAR_NAME } from '../../operator/injection/index.ts';
import { replaceableTypes, type ReplaceableType } from '../../operator/replace/session.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import { controllerNamed, type Target } from '../inject/targets.ts';

/** A workload whose pods follow a change of its template by themselves. */
export interface ReplaceableTarget extends Target {
  readonly type: ReplaceableType;
}

const DEFAULT_CONTAINER_ANNOTATION = 'kubectl.kubernetes.io/default-container';

/** Throws a Failure REPLACE_REFUSED for what has no template that its pods follow. */
export function refuseWithoutTemplate(workload: Workload): void {
  const { type, name, namespace } = workload;
  if (type === 'job') {
    throw refused(
      `the pod template of ${workloadLabel(workload)} cannot be changed: Kubernetes does not allow it of a Job`,
      `suspend it meanwhile, which ends its pods: kubectl -n ${namespace} patch job ${name} --type merge -p '{"spec":{"suspend":true}}'`,
    );
  }
  if (type === 'pod' && controllerNamed(workload.object.metadata) === undefined) {
    throw refused(
      `${workloadLabel(workload)} was made without a template, and the containers of a pod cannot be changed`,
      'let a Deployment make it, or delete it while you run yours',
    );
  }
}

/** The one workload, when its pods would all follow a change of its template, and follow it back. Failure REPLACE_REFUSED. */
export function replaceableTarget(targets: readonly Target[]): ReplaceableTarget {
  const [target, ...others] = targets;
  if (target === undefined || others.length > 0) {
    const names = targets.map(({ workload }) => workloadLabel(workload)).join(', ');
    throw refused(`--replace is for one workload at a time, and there are ${names}`, 'name one of them');
  }
  const { workload, object } = target;
  const label = workloadLabel(workload);
  const type = replaceableTypes.find((known) => known === target.type);
  if (type === undefined) {
    throw refused(
      `${label} leaves its pods as they are when its template changes`,
      'replace the container of a Deployment, a StatefulSet or a DaemonSet; intercept without --replace works here',
    );
  }
  if (!rollsByItself(type, object)) {
    throw refused(
      `the update strategy of ${label} is OnDelete: its pods would not be replaced by themselves, nor put back`,
      `set it to RollingUpdate for this: kubectl -n ${target.namespace} patch ${label} --type merge -p '{"spec":{"updateStrategy":{"type":"RollingUpdate"}}}'`,
    );
  }
  if (object.spec.paused === true) {
    throw refused(
      `${label} is paused: its pods would stay as they are`,
      `resume it: kubectl -n ${target.namespace} rollout resume ${label}`,
    );
  }
  if (type === 'statefulset' && (object.spec.updateStrategy?.rollingUpdate?.partition ?? 0) > 0) {
    throw refused(
      `the update strategy of ${label} has a partition: the pods below it would go on with the original container`,
      'set the partition to 0 for this',
    );
  }
  if (object.spec.replicas === 0) {
    throw new Failure('NO_READY_POD', `${label} in namespace ${target.namespace} is scaled to zero: there is no pod to be replaced`, {
      remedy: `scale it up: kubectl -n ${target.namespace} scale ${label} --replicas=1`,
    });
  }
  if (object.spec.template.metadata.labels[INJECT_LABEL] === 'disabled') {
    throw refused(
      `the pod template of ${label} has the label ${INJECT_LABEL}: disabled, and only an injected pod can have a container replaced`,
      'take the label away',
    );
  }
  return { ...target, type };
}

/**
 * The container that `--replace` means: the one that it names, else the one that kubectl takes, else the only one. Failures
 * CONTAINER_UNKNOWN, CONTAINER_REQUIRED (exit code 2).
 */
export function chooseReplaced({ object, workload }: Target, requested: string | undefined): string {
  const { metadata, spec } = object.spec.template;
  const { containers } = podSchema.parse({ metadata: { name: '' }, spec }).spec;
  const names = containers.map(({ name }) => name).filter((name) => name !== SIDECAR_NAME && name !== INIT_NAME);
  const wanted = requested ?? metadata.annotations[DEFAULT_CONTAINER_ANNOTATION];
  if (requested !== undefined && !names.includes(requested)) {
    throw new Failure('CONTAINER_UNKNOWN', `${workloadLabel(workload)} has no container "${requested}"`, {
      likely: `its containers are ${names.join(', ')}`,
      remedy: `name one of them: --replace ${names[0] ?? 'CONTAINER'}`,
      exitCode: ExitCode.usage,
    });
  }
  if (wanted !== undefined && names.includes(wanted)) return wanted;
  const [only, ...others] = names;
  if (only !== undefined && others.length === 0) return only;
  throw new Failure('CONTAINER_REQUIRED', `${workloadLabel(workload)} has several containers: ${names.join(', ')}`, {
    remedy: `say which is to be replaced: --replace ${only ?? 'CONTAINER'}`,
    exitCode: ExitCode.usage,
  });
}

function refused(what: string, remedy: string): Failure {
  return new Failure('REPLACE_REFUSED', what, { remedy });
}
