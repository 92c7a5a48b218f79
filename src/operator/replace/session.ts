import { createHash } from 'node:crypto';
import { microTime } from '../../cluster/leases.ts';
import type { Templated } from '../../cluster/templates.ts';
import type { Manifest } from '../../cluster/types.ts';
import { INJECT_LABEL, REPLACE_ANNOTATION, REPLACE_LABEL_ANNOTATION, REPLACE_LEASE_ANNOTATION } from '../injection/index.ts';
import { PART_OF_LABELS } from '../names.ts';

/**
 * What `kpctl intercept --replace` and the operator agree on: a Lease for each replaced workload, annotations on its template by which injection
 * replaces a container, and a label on the workload by which the operator finds it when the Lease is gone.
 */

/** The kinds whose pods follow a change of their template by themselves. */
export const replaceableTypes = ['deployment', 'statefulset', 'daemonset'] as const;
export type ReplaceableType = (typeof replaceableTypes)[number];

/** Label of the Leases, always `true`. */
export const SESSION_LABEL = 'kpeering.io/replace';

/** Label of a replaced workload (not of its template: that would be a rollout of its own), always `true`. */
export const REPLACED_LABEL = 'kpeering.io/replaced';

/** Annotation of a Lease: the workload, as `deployment/worker`. */
export const WORKLOAD_ANNOTATION = 'kpeering.io/workload';

/** Annotation of a Lease: the container. */
export const CONTAINER_ANNOTATION = 'kpeering.io/container';

/** How long a Lease holds that is not renewed. */
export const LEASE_SECONDS = 20;

/** `kpeering-replace-deployment-worker`: the same for everybody, so that only one of them can create it. */
export function leaseName(type: ReplaceableType, name: string): string {
  const full = `kpeering-replace-${type}-${name}`;
  if (full.length <= 253) return full;
  return `${full.slice(0, 236).replace(/[^a-z0-9]+$/, '')}-${createHash('sha256').update(full).digest('hex').slice(0, 16)}`;
}

export interface ReplaceSession {
  readonly type: ReplaceableType;
  /** `Deployment` */
  readonly kind: string;
  readonly object: Templated;
  readonly container: string;
  /** Who: `ada@laptop`. */
  readonly holder: string;
}

/** The Lease of a session that begins now. It goes with the workload when that is deleted. */
export function leaseManifest({ type, kind, object, container, holder }: ReplaceSession): Manifest {
  const { name, uid } = object.metadata;
  const now = microTime();
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      name: leaseName(type, name),
      labels: { ...PART_OF_LABELS, [SESSION_LABEL]: 'true' },
      annotations: { [WORKLOAD_ANNOTATION]: `${type}/${name}`, [CONTAINER_ANNOTATION]: container },
      ownerReferences: [{ apiVersion: 'apps/v1', kind, name, uid }],
    },
    spec: { holderIdentity: holder, leaseDurationSeconds: LEASE_SECONDS, acquireTime: now, renewTime: now },
  };
}

/** A merge patch, for this version of the workload only. */
export type WorkloadChange = Readonly<Record<string, unknown>>;

/** Asks for the container's replacement; and for injection, where the template does not. */
export function replacingChange(object: Templated, container: string, lease: string): WorkloadChange {
  const { labels } = object.spec.template.metadata;
  const asks = labels[INJECT_LABEL] !== undefined;
  return change(
    object,
    'true',
    { [REPLACE_ANNOTATION]: container, [REPLACE_LEASE_ANNOTATION]: lease, ...(asks ? {} : { [REPLACE_LABEL_ANNOTATION]: 'true' }) },
    asks ? {} : { [INJECT_LABEL]: 'enabled' },
  );
}

/** Takes back what {@link replacingChange} has put there, and nothing else. Undefined: there is nothing of it. */
export function restoringChange(object: Templated): WorkloadChange | undefined {
  const { labels, annotations } = object.spec.template.metadata;
  const ours = [REPLACE_ANNOTATION, REPLACE_LEASE_ANNOTATION, REPLACE_LABEL_ANNOTATION].filter((key) => annotations[key] !== undefined);
  if (ours.length === 0 && object.metadata.labels[REPLACED_LABEL] === undefined) return undefined;
  // Somebody may have set it to another value since: that is theirs.
  const added = annotations[REPLACE_LABEL_ANNOTATION] !== undefined && labels[INJECT_LABEL] === 'enabled';
  return change(object, null, Object.fromEntries(ours.map((key) => [key, null])), added ? { [INJECT_LABEL]: null } : {});
}

/** The Lease that a template names. */
export function leaseOf(object: Templated): string | undefined {
  return object.spec.template.metadata.annotations[REPLACE_LEASE_ANNOTATION];
}

/** The container that a template names. */
export function replacedContainer(object: Templated): string | undefined {
  return object.spec.template.metadata.annotations[REPLACE_ANNOTATION];
}

type Entries = Readonly<Record<string, string | null>>;

function change({ metadata }: Templated, label: string | null, annotations: Entries, labels: Entries): WorkloadChange {
  const template = {
    ...(Object.keys(annotations).length > 0 && { annotations }),
    ...(Object.keys(labels).length > 0 && { labels }),
  };
  return {
    metadata: { resourceVersion: metadata.resourceVersion, labels: { [REPLACED_LABEL]: label } },
    ...(Object.keys(template).length > 0 && { spec: { template: { metadata: template } } }),
  };
}
