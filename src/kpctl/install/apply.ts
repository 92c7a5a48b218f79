import { isDeepStrictEqual } from 'node:util';
import type { StoredObject } from '../../cluster/manifests.ts';
import type { Cluster, Manifest } from '../../cluster/types.ts';
import { PART_OF_LABELS } from '../../operator/names.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { kindOf } from './kinds.ts';

/** What became of an object. */
export type Change = 'created' | 'changed' | 'unchanged' | 'deleted';

/** Of one object, for the report. */
export interface Outcome {
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly change: Change;
}

/** By which the API server knows what is ours to change and to take away (server-side apply). */
const FIELD_MANAGER = 'kpctl';

export interface ApplyOptions extends AbortOptions {
  /** Nothing is stored. */
  readonly dryRun?: boolean;
}

/**
 * Applies one object. Fields that others have set besides ours stay (the operator's caBundle); those that they have changed become ours again. Failures:
 * INSTALL_FOREIGN for an object of that name that is not kpeering's, and those of the API.
 */
export async function applyObject(cluster: Cluster, manifest: Manifest, { dryRun = false, ...abort }: ApplyOptions = {}): Promise<Outcome> {
  const kind = kindOf(manifest);
  const { name = '', namespace } = manifest.metadata;
  const place = { ...(namespace !== undefined && { namespace }), ...abort };
  const before = await existing(cluster.get(kind, name, place));
  if (before !== undefined && !isOurs(before)) {
    throw new Failure('INSTALL_FOREIGN', `there is a ${kind.kind} ${name} already, which is not kpeering's`, {
      remedy: `rename or delete it: kubectl delete ${kind.plural} ${name}${namespace === undefined ? '' : ` -n ${namespace}`}`,
    });
  }
  const outcome = { kind: kind.kind, name, ...(namespace !== undefined && { namespace }) };
  // In a namespace that is not there yet nothing can be tried.
  if (dryRun && before === undefined) return { ...outcome, change: 'created' };
  const after = await cluster.patch(
    kind,
    name,
    { kind: 'apply', object: manifest, force: true },
    { fieldManager: FIELD_MANAGER, dryRun, ...place },
  );
  if (before === undefined) return { ...outcome, change: 'created' };
  return { ...outcome, change: isDeepStrictEqual(lasting(before), lasting(after)) ? 'unchanged' : 'changed' };
}

export function isOurs({ metadata: { labels } }: StoredObject): boolean {
  return Object.entries(PART_OF_LABELS).every(([key, value]) => labels[key] === value);
}

/** The object without what changes by itself. */
function lasting({ metadata, ...object }: StoredObject): unknown {
  const { resourceVersion: _version, managedFields: _fields, generation: _generation, ...rest } = metadata;
  const { status: _status, ...more } = object;
  return JSON.parse(JSON.stringify({ metadata: rest, ...more }));
}

/** Undefined where it does not exist. */
export async function existing<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (error instanceof Failure && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}
