import { z } from 'zod';
import { defineResource, listOf, mapOf, metadataSchema, numberOrName, optionalBoolean, optionalNumber, optionalText } from './resource.ts';

/** Pods (`core/v1`), with all that the environment of a container is computed from. */

const keySelector = z.object({ name: optionalText, key: z.string(), optional: optionalBoolean });

/** One entry of `env`: a value, or where it comes from. */
export const envVarSchema = z.object({
  name: z.string(),
  value: z
    .string()
    .nullish()
    .transform((value) => value ?? undefined),
  valueFrom: z
    .object({
      configMapKeyRef: keySelector.optional(),
      secretKeyRef: keySelector.optional(),
      fieldRef: z.object({ apiVersion: optionalText, fieldPath: z.string() }).optional(),
      resourceFieldRef: z.object({ containerName: optionalText, resource: z.string(), divisor: numberOrName.optional() }).optional(),
      /** Since Kubernetes 1.34: a value from a file that an init container wrote. */
      fileKeyRef: z.object({ volumeName: z.string(), path: z.string(), key: z.string(), optional: optionalBoolean }).optional(),
    })
    .nullish()
    .transform((value) => value ?? undefined),
});
export type EnvVar = z.infer<typeof envVarSchema>;

const objectReference = z.object({ name: optionalText, optional: optionalBoolean });

/** One entry of `envFrom`. */
export const envFromSchema = z.object({
  prefix: optionalText,
  configMapRef: objectReference.optional(),
  secretRef: objectReference.optional(),
});
export type EnvFromSource = z.infer<typeof envFromSchema>;

export const containerPortSchema = z.object({
  name: optionalText,
  containerPort: z.number(),
  protocol: z
    .string()
    .nullish()
    .transform((value) => value ?? 'TCP'),
});
export type ContainerPort = z.infer<typeof containerPortSchema>;

/** Where a container has a volume. */
const volumeMountSchema = z.object({
  name: z.string(),
  mountPath: z.string(),
  subPath: optionalText,
  subPathExpr: optionalText,
  readOnly: optionalBoolean,
});

export const containerSchema = z.object({
  name: z.string(),
  image: optionalText,
  ports: listOf(containerPortSchema),
  env: listOf(envVarSchema),
  envFrom: listOf(envFromSchema),
  /** Quantities: `100m`, `128Mi`. */
  resources: z
    .object({ limits: mapOf(numberOrName), requests: mapOf(numberOrName) })
    .nullish()
    .transform((value) => value ?? { limits: {}, requests: {} }),
  /** `Always` makes an init container a sidecar. */
  restartPolicy: optionalText,
  volumeMounts: listOf(volumeMountSchema),
  securityContext: z.object({ runAsUser: optionalNumber }).nullish(),
});
export type Container = z.infer<typeof containerSchema>;

const containerStatusSchema = z.object({
  name: z.string(),
  ready: optionalBoolean,
  started: optionalBoolean,
  restartCount: optionalNumber,
  state: z
    .object({
      running: z.object({ startedAt: optionalText }).nullish(),
      waiting: z.object({ reason: optionalText, message: optionalText }).nullish(),
      terminated: z.object({ reason: optionalText, exitCode: optionalNumber }).nullish(),
    })
    .nullish(),
});
export type ContainerStatus = z.infer<typeof containerStatusSchema>;

const address = z.object({ ip: z.string() });

/** Checked by who imitates them (`simulator/files`): of kinds that are not, only the name counts. */
const volumeSchema = z.looseObject({ name: z.string() });

export const podSpecSchema = z.object({
  containers: listOf(containerSchema),
  initContainers: listOf(containerSchema),
  ephemeralContainers: listOf(containerSchema),
  nodeName: optionalText,
  serviceAccountName: optionalText,
  hostname: optionalText,
  subdomain: optionalText,
  enableServiceLinks: optionalBoolean,
  hostNetwork: optionalBoolean,
  volumes: listOf(volumeSchema),
  securityContext: z.object({ fsGroup: optionalNumber, runAsUser: optionalNumber }).nullish(),
});
export type PodSpec = z.infer<typeof podSpecSchema>;

const podStatusSchema = z.object({
  phase: optionalText,
  conditions: listOf(
    z.object({ type: z.string(), status: z.string(), reason: optionalText, message: optionalText, lastProbeTime: optionalText }),
  ),
  podIP: optionalText,
  podIPs: listOf(address),
  hostIP: optionalText,
  hostIPs: listOf(address),
  containerStatuses: listOf(containerStatusSchema),
  initContainerStatuses: listOf(containerStatusSchema),
  ephemeralContainerStatuses: listOf(containerStatusSchema),
});

export const podSchema = z.object({
  metadata: metadataSchema,
  spec: podSpecSchema,
  status: podStatusSchema.nullish().transform((value) => value ?? podStatusSchema.parse({})),
});
export type Pod = z.infer<typeof podSchema>;

export const pods = defineResource<Pod>({ kind: 'Pod', plural: 'pods', group: '', version: 'v1', namespaced: true }, podSchema);
