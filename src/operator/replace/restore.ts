import { templatedResources, type Templated } from '../../cluster/templates.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { leaseOf, replacedContainer, restoringChange, type ReplaceableType, type WorkloadChange } from './session.ts';

/** A workload that may be replaced. */
export interface ReplaceableWorkload {
  readonly type: ReplaceableType;
  readonly namespace: string;
  readonly name: string;
}

export interface RestoreOptions extends AbortOptions {
  /** Who the API server says has done it. */
  readonly fieldManager: string;
  /** Whether a session goes on by this Lease; asked after the workload was read. Absent: no session is looked for. */
  readonly isHeld?: (lease: string) => Promise<boolean>;
}

/** The workload as it is then. */
export interface Restored {
  readonly object: Templated;
  /** The container that had been replaced, as the template said. */
  readonly container: string | undefined;
}

const ATTEMPTS = 6;

/**
 * Takes kpeering's own annotations and label back from a template, and leaves all else. Undefined: there was nothing to take back, a session goes on,
 * or the workload is gone. When somebody changes the workload at the same time it is read anew. Failures: those of every request.
 */
export async function restoreWorkload(
  cluster: Pick<Cluster, 'get' | 'patch'>,
  workload: ReplaceableWorkload,
  { isHeld, ...options }: RestoreOptions,
): Promise<Restored | undefined> {
  const before: { container?: string | undefined } = {};
  const object = await changeWorkload(
    cluster,
    workload,
    async (present) => {
      const change = restoringChange(present);
      if (change === undefined) return undefined;
      const lease = leaseOf(present);
      if (lease !== undefined && (await isHeld?.(lease)) === true) return undefined;
      before.container = replacedContainer(present);
      return change;
    },
    options,
  ).catch((error: unknown) => {
    if (error instanceof Failure && error.code === 'NOT_FOUND') return undefined;
    throw error;
  });
  return object === undefined ? undefined : { object, container: before.container };
}

/**
 * Patches a workload by what `decide` makes of it, which is asked again when it was changed meanwhile. Undefined: `decide` wants no change.
 */
export async function changeWorkload(
  cluster: Pick<Cluster, 'get' | 'patch'>,
  { type, namespace, name }: ReplaceableWorkload,
  decide: (object: Templated) => WorkloadChange | undefined | Promise<WorkloadChange | undefined>,
  { fieldManager, signal }: Omit<RestoreOptions, 'isHeld'>,
): Promise<Templated | undefined> {
  const resource = templatedResources[type];
  const request = { namespace, ...(signal !== undefined && { signal }) };
  for (let attempt = 1; ; attempt++) {
    const change = await decide(await cluster.get(resource, name, request));
    if (change === undefined) return undefined;
    try {
      return await cluster.patch(resource, name, { kind: 'merge', object: change }, { ...request, fieldManager });
    } catch (error) {
      if (!(error instanceof Failure && error.code === 'API_CONFLICT') || attempt === ATTEMPTS) throw error;
    }
  }
}
