import type { AbortOptions } from '../platform/abort.ts';
import { ExitCode, Failure } from '../platform/errors.ts';
import type { DaemonSet, Deployment, Job, ReplicaSet, StatefulSet } from './controllers.ts';
import { nearNames } from './near-names.ts';
import type { Pod } from './pods.ts';
import type { Service } from './services.ts';
import type { Cluster, KubeObject, Resource } from './types.ts';
import { workloadResources, type WorkloadReference, type WorkloadType } from './workload-reference.ts';

interface WorkloadOf<Type extends WorkloadType, T extends KubeObject> {
  readonly type: Type;
  /** `Deployment` */
  readonly kind: string;
  readonly name: string;
  readonly namespace: string;
  readonly object: T;
}

/** What WORKLOAD names: a set of pods. */
export type Workload =
  | WorkloadOf<'deployment', Deployment>
  | WorkloadOf<'statefulset', StatefulSet>
  | WorkloadOf<'daemonset', DaemonSet>
  | WorkloadOf<'replicaset', ReplicaSet>
  | WorkloadOf<'job', Job>
  | WorkloadOf<'pod', Pod>
  | WorkloadOf<'service', Service>;

/** `deployment/web`: what to call a workload in messages; `parseWorkload` reads it. */
export function workloadLabel({ type, name }: Pick<Workload, 'type' | 'name'>): string {
  return `${type}/${name}`;
}

/** Where a bare NAME is looked for. Services only as `service/NAME`: most have the name of their Deployment. */
const SEARCHED = ['deployment', 'statefulset', 'daemonset', 'replicaset', 'job', 'pod'] as const;

export interface FindOptions extends AbortOptions {
  /** Absent: the cluster's namespace in use. */
  readonly namespace?: string;
}

/**
 * The workload that a reference names. A ReplicaSet that a Deployment owns is found only by its type. A kind that the user may not read is
 * passed over, unless all are. Failures: WORKLOAD_NOT_FOUND with names that are near, WORKLOAD_AMBIGUOUS (exit code 2),
 * API_FORBIDDEN.
 */
export async function findWorkload(cluster: Cluster, reference: WorkloadReference, options: FindOptions = {}): Promise<Workload> {
  const namespace = options.namespace ?? cluster.namespace;
  const request = { namespace, ...(options.signal !== undefined && { signal: options.signal }) };
  const types = reference.type === undefined ? SEARCHED : [reference.type];
  const found = await permitted(types, async (type) => await getWorkload(cluster, type, reference.name, request));
  const matches = found.filter((match) => match !== undefined).filter((match) => reference.type !== undefined || !isManagedSet(match));
  const [only, ...others] = matches;
  if (only === undefined) throw await notFound(cluster, reference, request);
  if (others.length === 0) return only;
  throw new Failure(
    'WORKLOAD_AMBIGUOUS',
    `"${reference.name}" names ${matches.map(workloadLabel).join(' and ')} in namespace ${namespace}`,
    {
      remedy: `say which: ${matches.map(workloadLabel).join(' or ')}`,
      exitCode: ExitCode.usage,
    },
  );
}

interface Request extends AbortOptions {
  readonly namespace: string;
}

function isManagedSet(workload: Workload): boolean {
  return workload.type === 'replicaset' && workload.object.metadata.ownerReferences.some(({ controller }) => controller === true);
}

async function getWorkload(cluster: Cluster, type: WorkloadType, name: string, request: Request): Promise<Workload | undefined> {
  const of = async <Type extends WorkloadType, T extends KubeObject>(
    type: Type,
    resource: Resource<T>,
  ): Promise<WorkloadOf<Type, T> | undefined> => {
    try {
      const object = await cluster.get(resource, name, request);
      return { type, kind: resource.kind, name, namespace: request.namespace, object };
    } catch (error) {
      if (error instanceof Failure && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  };
  if (type === 'deployment') return await of(type, workloadResources[type]);
  if (type === 'statefulset') return await of(type, workloadResources[type]);
  if (type === 'daemonset') return await of(type, workloadResources[type]);
  if (type === 'replicaset') return await of(type, workloadResources[type]);
  if (type === 'job') return await of(type, workloadResources[type]);
  if (type === 'pod') return await of(type, workloadResources[type]);
  return await of(type, workloadResources[type]);
}

/** Asks for several kinds at once; passes over those that are forbidden, and throws the Failure when all are. */
export async function permitted<Type, T>(types: readonly Type[], ask: (type: Type) => Promise<T>): Promise<T[]> {
  const answers = await Promise.all(
    types.map(async (type) => {
      try {
        return { value: await ask(type) };
      } catch (error) {
        if (error instanceof Failure && error.code === 'API_FORBIDDEN') return { forbidden: error };
        throw error;
      }
    }),
  );
  const values = answers.flatMap((answer) => ('value' in answer ? [answer.value] : []));
  const refused = answers.find((answer) => 'forbidden' in answer);
  if (values.length === 0 && refused?.forbidden !== undefined) throw refused.forbidden;
  return values;
}

async function notFound(cluster: Cluster, reference: WorkloadReference, request: Request): Promise<Failure> {
  const { type, name } = reference;
  const types: readonly WorkloadType[] = type === undefined ? [...SEARCHED, 'service'] : [type];
  const names = new Map<WorkloadType, string[]>();
  await permitted(types, async (type) => {
    const list = async <T extends KubeObject>(resource: Resource<T>): Promise<string[]> =>
      (await cluster.list(resource, request)).map(({ metadata }) => metadata.name);
    names.set(
      type,
      type === 'replicaset' || type === 'pod'
        ? await unmanagedNames(cluster, type, request)
        : await list<KubeObject>(workloadResources[type]),
    );
  }).catch(() => {});
  const what = `there is no ${type ?? 'workload'} "${name}" in namespace ${request.namespace}`;
  if (type === undefined && names.get('service')?.includes(name) === true) {
    return new Failure('WORKLOAD_NOT_FOUND', what, { remedy: `there is a Service of that name: service/${name}` });
  }
  if (type === undefined) names.delete('service');
  const near = nearNames(name, [...names.values()].flat());
  return new Failure('WORKLOAD_NOT_FOUND', what, {
    remedy:
      near.length > 0
        ? `did you mean ${near.join(' or ')}`
        : 'see "kpctl list" for the workloads there are, or name another namespace with -n',
  });
}

/** Names that people gave: not those of the pods and ReplicaSets that controllers make. */
async function unmanagedNames(cluster: Cluster, type: 'replicaset' | 'pod', request: Request): Promise<string[]> {
  const objects =
    type === 'pod' ? await cluster.list(workloadResources.pod, request) : await cluster.list(workloadResources.replicaset, request);
  return objects.filter(({ metadata }) => metadata.ownerReferences.length === 0).map(({ metadata }) => metadata.name);
}
