import { matchesSelector } from '../../cluster/label-selector.ts';
import type { Metadata } from '../../cluster/resources.ts';
import { templatedResources, templatedTypes, type Templated, type TemplatedType } from '../../cluster/templates.ts';
import type { Cluster } from '../../cluster/types.ts';
import { findWorkload, workloadLabel, type Workload } from '../../cluster/workloads.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { INJECT_LABEL } from '../../operator/injection/index.ts';

/** A workload whose pod template can be changed. */
export interface Target {
  readonly type: ChangeableType;
  readonly name: string;
  readonly namespace: string;
  /** As it was when it was looked at. */
  readonly object: Templated;
  /** The same, for what asks for its pods. */
  readonly workload: Workload;
}

export type ChangeableType = Exclude<TemplatedType, 'job'>;
export const changeableTypes = templatedTypes.filter((type) => type !== 'job');

export interface TargetOptions extends AbortOptions {
  /** For the remedies of refusals: the sidecar is to be taken away. */
  readonly ejecting?: boolean;
}

type LabelValue = 'enabled' | 'disabled';

/**
 * The workloads whose templates make the pods of what the user named: itself, or for `service/NAME` those whose pods it selects. Failures say
 * what to do instead: INJECT_JOB_TEMPLATE, INJECT_BARE_POD, INJECT_OWNED (name what makes it), INJECT_SERVICE (nothing found behind it).
 */
export async function injectionTargets(cluster: Cluster, workload: Workload, options: TargetOptions = {}): Promise<readonly Target[]> {
  const { namespace } = workload;
  const value = options.ejecting === true ? 'disabled' : 'enabled';
  switch (workload.type) {
    case 'service':
      return await behindService(cluster, workload, options);
    case 'job':
      throw jobTemplate(workload, workload.object.metadata, value);
    case 'pod':
      throw await podItself(cluster, workload, value, options);
    case 'deployment':
    case 'statefulset':
    case 'daemonset':
    case 'replicaset': {
      const owner = controllerNamed(workload.object.metadata);
      if (workload.type === 'replicaset' && owner !== undefined) throw owned(workload, owner, value);
      const object = await cluster.get(templatedResources[workload.type], workload.name, { namespace, ...options });
      return [{ type: workload.type, name: workload.name, namespace, object, workload }];
    }
  }
}

/** Looks a target up by its name. */
export async function loadTarget(
  cluster: Cluster,
  { type, name, namespace }: Pick<Target, 'type' | 'name' | 'namespace'>,
  options: AbortOptions = {},
): Promise<Target> {
  const [workload, object] = await Promise.all([
    findWorkload(cluster, { type, name }, { namespace, ...options }),
    cluster.get(templatedResources[type], name, { namespace, ...options }),
  ]);
  return { type, name, namespace, object, workload };
}

async function behindService(
  cluster: Cluster,
  workload: Extract<Workload, { type: 'service' }>,
  options: AbortOptions,
): Promise<readonly Target[]> {
  const { namespace, name } = workload;
  const { selector } = workload.object.spec;
  const matchLabels = selector;
  if (Object.keys(selector).length === 0) {
    throw new Failure('INJECT_SERVICE', `the Service ${name} has no selector: it does not say whose pods are behind it`, {
      remedy: 'name the workload: kpctl inject deployment/NAME',
    });
  }
  const found = await Promise.all(
    changeableTypes.map(async (type) => {
      const objects = await cluster.list(templatedResources[type], { namespace, ...options });
      return objects
        .filter(({ metadata }) => type !== 'replicaset' || controllerNamed(metadata) === undefined)
        .filter(({ spec }) => matchesSelector({ matchLabels, matchExpressions: [] }, spec.template.metadata.labels))
        .map(({ metadata }) => ({ type, name: metadata.name, namespace }));
    }),
  );
  const targets = await Promise.all(found.flat().map(async (target) => await loadTarget(cluster, target, options)));
  if (targets.length > 0) return targets;
  throw new Failure('INJECT_SERVICE', `no workload with a pod template is behind the Service ${name} in namespace ${namespace}`, {
    likely: 'its pods were made by a Job or by hand, or there are none',
    remedy: `see "kubectl -n ${namespace} get pods -l ${Object.entries(selector)
      .map(([key, value]) => `${key}=${value}`)
      .join(',')}"`,
  });
}

interface Controller {
  readonly kind: string;
  readonly name: string;
  /** `deployment/web` */
  readonly label: string;
}

/** What has made an object and looks after it. */
export function controllerNamed({ ownerReferences }: Pick<Metadata, 'ownerReferences'>): Controller | undefined {
  const owner = ownerReferences.find(({ controller }) => controller === true);
  return owner === undefined ? undefined : { kind: owner.kind, name: owner.name, label: `${owner.kind.toLowerCase()}/${owner.name}` };
}

function owned(workload: Pick<Workload, 'type' | 'name'>, owner: Controller, value: LabelValue): Failure {
  const known = templatedTypes.some((type) => type === owner.kind.toLowerCase());
  return new Failure('INJECT_OWNED', `${workloadLabel(workload)} was made by ${owner.label}, which would make it anew`, {
    remedy: known
      ? `name that: ${owner.label}`
      : `put the label ${INJECT_LABEL}: ${value} into the pod template of the ${owner.kind} ${owner.name}${orEphemeral(value)}`,
  });
}

function jobTemplate({ type, name, namespace }: Workload, metadata: Metadata, value: LabelValue): Failure {
  const owner = controllerNamed(metadata);
  const what = `the pod template of ${workloadLabel({ type, name })} cannot be changed: Kubernetes does not allow it of a Job`;
  if (owner?.kind === 'CronJob') {
    const patch = JSON.stringify({
      spec: { jobTemplate: { spec: { template: { metadata: { labels: { [INJECT_LABEL]: value } } } } } },
    });
    return new Failure('INJECT_JOB_TEMPLATE', what, {
      remedy: `change it for the next Jobs: kubectl -n ${namespace} patch cronjob ${owner.name} --type merge -p '${patch}'${orEphemeral(value)}`,
    });
  }
  return new Failure('INJECT_JOB_TEMPLATE', what, {
    remedy: `put the label ${INJECT_LABEL}: ${value} into the pod template of its manifest and create the Job again${orEphemeral(value)}`,
  });
}

async function podItself(
  cluster: Cluster,
  workload: Extract<Workload, { type: 'pod' }>,
  value: LabelValue,
  options: AbortOptions,
): Promise<Failure> {
  const owner = await outermost(cluster, workload.namespace, controllerNamed(workload.object.metadata), options);
  if (owner !== undefined) return owned(workload, owner, value);
  return new Failure(
    'INJECT_BARE_POD',
    `${workloadLabel(workload)} was made without a template, and a pod's containers cannot be changed`,
    {
      remedy: `put the label ${INJECT_LABEL}: ${value} into its manifest and create it again${orEphemeral(value)}`,
    },
  );
}

function orEphemeral(value: LabelValue): string {
  return value === 'enabled' ? '; or kpctl intercept with --ephemeral, without any of this' : '';
}

/** Of a ReplicaSet the Deployment above it. */
async function outermost(
  cluster: Cluster,
  namespace: string,
  owner: Controller | undefined,
  options: AbortOptions,
): Promise<Controller | undefined> {
  if (owner?.kind !== 'ReplicaSet') return owner;
  try {
    const set = await cluster.get(templatedResources.replicaset, owner.name, { namespace, ...options });
    return controllerNamed(set.metadata) ?? owner;
  } catch (error) {
    if (error instanceof Failure && ['NOT_FOUND', 'API_FORBIDDEN'].includes(error.code)) return owner;
    throw error;
  }
}
