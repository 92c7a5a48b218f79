import { z } from 'zod';

/**
 * The objects that the lab understands: the fields that it reads are checked, all others are kept as they are and
 * served again. Names and shapes are those of the Kubernetes API reference.
 */

const strings = z.record(z.string(), z.string());

export const metadataSchema = z.looseObject({
  name: z.string().min(1),
  namespace: z.string().optional(),
  uid: z.string().default(''),
  resourceVersion: z.string().default(''),
  generation: z.number().default(1),
  creationTimestamp: z.string().default(''),
  deletionTimestamp: z.string().optional(),
  labels: strings.nullish().transform((value) => value ?? {}),
  annotations: strings.nullish().transform((value) => value ?? {}),
  ownerReferences: z
    .array(
      z.looseObject({ apiVersion: z.string(), kind: z.string(), name: z.string(), uid: z.string(), controller: z.boolean().optional() }),
    )
    .default([]),
});

const numberOrName = z.union([z.int(), z.string()]);

const probeSchema = z.looseObject({
  httpGet: z
    .looseObject({
      path: z.string().default('/'),
      port: numberOrName,
      httpHeaders: z.array(z.looseObject({ name: z.string(), value: z.string() })).default([]),
    })
    .optional(),
  tcpSocket: z.looseObject({ port: numberOrName }).optional(),
  grpc: z.looseObject({ port: z.int(), service: z.string().nullish() }).optional(),
  exec: z.looseObject({ command: z.array(z.string()) }).optional(),
  initialDelaySeconds: z.number().default(0),
  periodSeconds: z.number().default(10),
  timeoutSeconds: z.number().default(1),
  successThreshold: z.number().default(1),
  failureThreshold: z.number().default(3),
});
export type Probe = z.infer<typeof probeSchema>;

const keyReference = z.looseObject({ name: z.string().optional(), key: z.string(), optional: z.boolean().optional() });
const sourceReference = z.looseObject({ name: z.string().optional(), optional: z.boolean().optional() });

const securityContext = { runAsUser: z.int().optional(), runAsGroup: z.int().optional(), runAsNonRoot: z.boolean().optional() };
const names = z.array(z.string()).default([]);

const containerSchema = z.looseObject({
  name: z.string(),
  image: z.string().default(''),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  workingDir: z.string().optional(),
  restartPolicy: z.string().optional(),
  ports: z.array(z.looseObject({ name: z.string().optional(), containerPort: z.int(), protocol: z.string().default('TCP') })).default([]),
  env: z
    .array(
      z.looseObject({
        name: z.string(),
        value: z.string().optional(),
        valueFrom: z
          .looseObject({
            configMapKeyRef: keyReference.optional(),
            secretKeyRef: keyReference.optional(),
            fieldRef: z.looseObject({ fieldPath: z.string() }).optional(),
            resourceFieldRef: z
              .looseObject({
                containerName: z.string().optional(),
                resource: z.string(),
                divisor: z.union([z.string(), z.number()]).optional(),
              })
              .optional(),
          })
          .optional(),
      }),
    )
    .default([]),
  envFrom: z
    .array(
      z.looseObject({ prefix: z.string().optional(), configMapRef: sourceReference.optional(), secretRef: sourceReference.optional() }),
    )
    .default([]),
  securityContext: z
    .looseObject({
      ...securityContext,
      allowPrivilegeEscalation: z.boolean().optional(),
      capabilities: z.looseObject({ add: names, drop: names }).optional(),
    })
    .optional(),
  volumeMounts: z.array(z.looseObject({ name: z.string(), mountPath: z.string().startsWith('/') })).default([]),
  readinessProbe: probeSchema.optional(),
  startupProbe: probeSchema.optional(),
  livenessProbe: probeSchema.optional(),
});
export type Container = z.infer<typeof containerSchema>;

const podSpecSchema = z.looseObject({
  containers: z.array(containerSchema).min(1),
  initContainers: z.array(containerSchema).default([]),
  securityContext: z.looseObject(securityContext).optional(),
  volumes: z.array(z.looseObject({ name: z.string(), emptyDir: z.looseObject({}).optional() })).default([]),
  restartPolicy: z.enum(['Always', 'OnFailure', 'Never']).default('Always'),
  terminationGracePeriodSeconds: z.number().default(30),
  hostname: z.string().optional(),
  subdomain: z.string().optional(),
  nodeName: z.string().default('lab'),
  serviceAccountName: z.string().default('default'),
  enableServiceLinks: z.boolean().default(true),
});

const containerStateSchema = z.looseObject({
  waiting: z.looseObject({ reason: z.string(), message: z.string().optional() }).optional(),
  running: z.looseObject({ startedAt: z.string() }).optional(),
  terminated: z
    .looseObject({
      exitCode: z.number(),
      signal: z.number().optional(),
      reason: z.string(),
      startedAt: z.string().optional(),
      finishedAt: z.string().optional(),
    })
    .optional(),
});
export type ContainerState = z.infer<typeof containerStateSchema>;

const containerStatusSchema = z.looseObject({
  name: z.string(),
  image: z.string(),
  ready: z.boolean(),
  started: z.boolean(),
  restartCount: z.number(),
  state: containerStateSchema,
  lastState: containerStateSchema,
});
export type ContainerStatus = z.infer<typeof containerStatusSchema>;

export const conditionSchema = z.looseObject({ type: z.string(), status: z.string() });
export type Condition = z.infer<typeof conditionSchema>;

const podStatusSchema = z.looseObject({
  phase: z.enum(['Pending', 'Running', 'Succeeded', 'Failed']).default('Pending'),
  conditions: z.array(conditionSchema).default([]),
  podIP: z.string().optional(),
  podIPs: z.array(z.object({ ip: z.string() })).optional(),
  hostIP: z.string().optional(),
  hostIPs: z.array(z.object({ ip: z.string() })).optional(),
  containerStatuses: z.array(containerStatusSchema).default([]),
  initContainerStatuses: z.array(containerStatusSchema).default([]),
});
export type PodStatus = z.infer<typeof podStatusSchema>;

const head = { apiVersion: z.string(), kind: z.string(), metadata: metadataSchema };

export const plainSchema = z.looseObject(head);
export type LabObject = z.infer<typeof plainSchema>;

export const podSchema = z.looseObject({ ...head, spec: podSpecSchema, status: podStatusSchema.prefault({}) });
export type Pod = z.infer<typeof podSchema>;

const templateSchema = z.looseObject({
  metadata: z
    .looseObject({ labels: strings.optional(), annotations: strings.optional() })
    .nullish()
    .transform((value) => value ?? {}),
  spec: podSpecSchema,
});
export type PodTemplate = z.infer<typeof templateSchema>;

export const selectorSchema = z.looseObject({
  matchLabels: strings.default({}),
  matchExpressions: z
    .array(
      z.object({
        key: z.string(),
        operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: z.array(z.string()).default([]),
      }),
    )
    .default([]),
});
export type LabelSelector = z.infer<typeof selectorSchema>;

const workloadStatusSchema = z.looseObject({ readyReplicas: z.number().optional(), replicas: z.number().optional() });
const workload = {
  ...head,
  spec: z.looseObject({
    replicas: z.int().min(0).default(1),
    selector: selectorSchema,
    template: templateSchema,
    serviceName: z.string().optional(),
  }),
  status: workloadStatusSchema.prefault({}),
};
export const deploymentSchema = z.looseObject(workload);
export const replicaSetSchema = z.looseObject(workload);
export const statefulSetSchema = z.looseObject(workload);
/** Any of Deployment, ReplicaSet, StatefulSet. */
export type Workload = z.infer<typeof deploymentSchema>;
export const daemonSetSchema = z.looseObject({
  ...head,
  spec: z.looseObject({ selector: selectorSchema, template: templateSchema }),
  status: workloadStatusSchema.prefault({}),
});
export type DaemonSet = z.infer<typeof daemonSetSchema>;
export const jobSchema = z.looseObject({
  ...head,
  spec: z.looseObject({ selector: selectorSchema.optional(), template: templateSchema, backoffLimit: z.int().default(6) }),
  status: z
    .looseObject({
      active: z.number().optional(),
      succeeded: z.number().optional(),
      failed: z.number().optional(),
      conditions: z.array(conditionSchema).optional(),
    })
    .prefault({}),
});
export type Job = z.infer<typeof jobSchema>;

export const serviceSchema = z.looseObject({
  ...head,
  spec: z.looseObject({
    type: z.string().default('ClusterIP'),
    clusterIP: z.string().optional(),
    clusterIPs: z.array(z.string()).optional(),
    externalName: z.string().optional(),
    selector: strings.optional(),
    publishNotReadyAddresses: z.boolean().default(false),
    ports: z
      .array(
        z.looseObject({
          name: z.string().optional(),
          port: z.int(),
          targetPort: numberOrName.optional(),
          protocol: z.string().default('TCP'),
        }),
      )
      .default([]),
  }),
});
export type Service = z.infer<typeof serviceSchema>;

export const endpointSliceSchema = z.looseObject({
  ...head,
  addressType: z.string(),
  endpoints: z.array(
    z.looseObject({
      addresses: z.array(z.string()),
      conditions: z.looseObject({ ready: z.boolean().optional() }).optional(),
      hostname: z.string().optional(),
    }),
  ),
  ports: z.array(z.looseObject({ name: z.string().optional(), port: z.int().optional(), protocol: z.string().optional() })),
});
export type EndpointSlice = z.infer<typeof endpointSliceSchema>;

export const configurationSchema = z.looseObject({ ...head, data: strings.optional() });
export type Configuration = z.infer<typeof configurationSchema>;

/** `stringData` of a Secret is written into `data`, as the API server does. */
export const secretSchema = z
  .looseObject({ ...head, data: strings.optional(), stringData: strings.optional() })
  .transform(({ stringData, ...secret }) => {
    const written = Object.entries(stringData ?? {}).map(([key, value]) => [key, Buffer.from(value).toString('base64')]);
    return { ...secret, data: { ...secret.data, ...z.record(z.string(), z.string()).parse(Object.fromEntries(written)) } };
  });
