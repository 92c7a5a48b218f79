import { z } from 'zod';
import { podSpecSchema } from './pods.ts';
import { defineResource, labelSelectorSchema, metadataSchema, optionalNumber } from './resource.ts';

/** The kinds that make pods (`apps/v1`, `batch/v1`). */

const templateSchema = z.object({
  metadata: metadataSchema
    .partial({ name: true })
    .nullish()
    .transform((value) => value ?? undefined),
  spec: podSpecSchema,
});

const replicatedSchema = z.object({
  metadata: metadataSchema,
  spec: z.object({ replicas: optionalNumber, selector: labelSelectorSchema, template: templateSchema }),
});

export const deploymentSchema = replicatedSchema;
export type Deployment = z.infer<typeof deploymentSchema>;
export const deployments = defineResource<Deployment>(
  { kind: 'Deployment', plural: 'deployments', group: 'apps', version: 'v1', namespaced: true },
  deploymentSchema,
);

export const replicaSetSchema = z.object({
  metadata: metadataSchema,
  spec: z.object({ replicas: optionalNumber, selector: labelSelectorSchema, template: templateSchema.optional() }),
});
export type ReplicaSet = z.infer<typeof replicaSetSchema>;
export const replicaSets = defineResource<ReplicaSet>(
  { kind: 'ReplicaSet', plural: 'replicasets', group: 'apps', version: 'v1', namespaced: true },
  replicaSetSchema,
);

export const statefulSetSchema = replicatedSchema;
export type StatefulSet = z.infer<typeof statefulSetSchema>;
export const statefulSets = defineResource<StatefulSet>(
  { kind: 'StatefulSet', plural: 'statefulsets', group: 'apps', version: 'v1', namespaced: true },
  statefulSetSchema,
);

export const daemonSetSchema = z.object({
  metadata: metadataSchema,
  spec: z.object({ selector: labelSelectorSchema, template: templateSchema }),
});
export type DaemonSet = z.infer<typeof daemonSetSchema>;
export const daemonSets = defineResource<DaemonSet>(
  { kind: 'DaemonSet', plural: 'daemonsets', group: 'apps', version: 'v1', namespaced: true },
  daemonSetSchema,
);

export const jobSchema = z.object({
  metadata: metadataSchema,
  spec: z.object({ parallelism: optionalNumber, selector: labelSelectorSchema.optional(), template: templateSchema }),
});
export type Job = z.infer<typeof jobSchema>;
export const jobs = defineResource<Job>({ kind: 'Job', plural: 'jobs', group: 'batch', version: 'v1', namespaced: true }, jobSchema);
