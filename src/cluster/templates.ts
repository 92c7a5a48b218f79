import { z } from 'zod';
import { daemonSets, deployments, jobs, replicaSets, statefulSets } from './controllers.ts';
import {
  defineResource,
  labelSelectorSchema,
  listOf,
  mapOf,
  metadataSchema,
  numberOrName,
  optionalBoolean,
  optionalNumber,
  optionalText,
} from './resource.ts';

/** What makes pods from a template, seen as that: the template as it is, and how far its pods have followed it (`apps/v1`, `batch/v1`). */

const conditionSchema = z.object({
  type: z.string(),
  status: z.string(),
  reason: optionalText,
  message: optionalText,
  /** Of a Deployment. */
  lastUpdateTime: optionalText,
});

const strategySchema = z
  .object({
    /** `RollingUpdate`, `Recreate`, `OnDelete` */
    type: optionalText,
    rollingUpdate: z
      .object({ partition: optionalNumber, maxUnavailable: numberOrName.nullish(), maxSurge: numberOrName.nullish() })
      .nullish(),
  })
  .nullish();

const podTemplateSchema = z.looseObject({
  metadata: z
    .looseObject({ labels: mapOf(z.string()), annotations: mapOf(z.string()) })
    .nullish()
    .transform((value) => value ?? { labels: {}, annotations: {} }),
  spec: z.looseObject({
    containers: listOf(z.looseObject({ name: z.string() })),
    initContainers: listOf(z.looseObject({ name: z.string() })),
    volumes: listOf(z.unknown()),
  }),
});

const statusSchema = z.object({
  observedGeneration: optionalNumber,
  replicas: optionalNumber,
  updatedReplicas: optionalNumber,
  readyReplicas: optionalNumber,
  availableReplicas: optionalNumber,
  /** Of a StatefulSet: the revisions that its pods had before and shall have. */
  currentRevision: optionalText,
  updateRevision: optionalText,
  /** Of a DaemonSet. */
  desiredNumberScheduled: optionalNumber,
  updatedNumberScheduled: optionalNumber,
  numberAvailable: optionalNumber,
  conditions: listOf(conditionSchema),
});

export const templatedSchema = z.object({
  metadata: metadataSchema.extend({ generation: optionalNumber }),
  spec: z.object({
    /** Absent of a DaemonSet and a Job; 1 where it is not said. */
    replicas: optionalNumber,
    paused: optionalBoolean,
    /** A Job makes its own. */
    selector: labelSelectorSchema.nullish().transform((value) => value ?? undefined),
    /** Of a Deployment. */
    strategy: strategySchema,
    /** Of a StatefulSet and a DaemonSet. */
    updateStrategy: strategySchema,
    /** The names of a StatefulSet's volumes that its pods have besides the template's. */
    volumeClaimTemplates: listOf(z.object({ metadata: z.object({ name: z.string() }) })),
    /** Nothing is left out of it. */
    template: podTemplateSchema,
  }),
  status: statusSchema.nullish().transform((value) => value ?? statusSchema.parse({})),
});
export type Templated = z.infer<typeof templatedSchema>;

export const templatedTypes = ['deployment', 'statefulset', 'daemonset', 'replicaset', 'job'] as const;
export type TemplatedType = (typeof templatedTypes)[number];

export const templatedResources = {
  deployment: defineResource<Templated>(deployments, templatedSchema),
  statefulset: defineResource<Templated>(statefulSets, templatedSchema),
  daemonset: defineResource<Templated>(daemonSets, templatedSchema),
  replicaset: defineResource<Templated>(replicaSets, templatedSchema),
  job: defineResource<Templated>(jobs, templatedSchema),
} as const;
