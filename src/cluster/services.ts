import { z } from 'zod';
import { defineResource, listOf, mapOf, metadataSchema, numberOrName, optionalBoolean, optionalNumber, optionalText } from './resource.ts';

/** Services (`core/v1`), their endpoints (`discovery.k8s.io/v1`), and the ranges that their addresses come from (`networking.k8s.io/v1`). */

const protocol = z
  .string()
  .nullish()
  .transform((value) => value ?? 'TCP');

export const servicePortSchema = z.object({
  name: optionalText,
  port: z.number(),
  /** Of the pod: a number, or a container port's name. Absent: the same as `port`. */
  targetPort: numberOrName.optional(),
  protocol,
});
export type ServicePort = z.infer<typeof servicePortSchema>;

export const serviceSchema = z.object({
  metadata: metadataSchema,
  spec: z.object({
    type: optionalText,
    /** `None`: headless. */
    clusterIP: optionalText,
    clusterIPs: listOf(z.string()),
    ipFamilies: listOf(z.string()),
    ports: listOf(servicePortSchema),
    selector: mapOf(z.string()),
    externalName: optionalText,
    publishNotReadyAddresses: optionalBoolean,
  }),
});
export type Service = z.infer<typeof serviceSchema>;
export const services = defineResource<Service>(
  { kind: 'Service', plural: 'services', group: '', version: 'v1', namespaced: true },
  serviceSchema,
);

/** The label of an EndpointSlice that names its Service. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';

export const endpointSliceSchema = z.object({
  metadata: metadataSchema,
  addressType: z.string(),
  ports: listOf(z.object({ name: optionalText, port: optionalNumber, protocol })),
  endpoints: listOf(
    z.object({
      addresses: listOf(z.string()),
      /** An absent `ready` means true. */
      conditions: z
        .object({ ready: optionalBoolean, serving: optionalBoolean, terminating: optionalBoolean })
        .nullish()
        .transform((value) => value ?? { ready: undefined, serving: undefined, terminating: undefined }),
      hostname: optionalText,
      nodeName: optionalText,
      targetRef: z
        .object({ kind: optionalText, name: optionalText, namespace: optionalText, uid: optionalText })
        .nullish()
        .transform((value) => value ?? undefined),
    }),
  ),
});
export type EndpointSlice = z.infer<typeof endpointSliceSchema>;
export const endpointSlices = defineResource<EndpointSlice>(
  { kind: 'EndpointSlice', plural: 'endpointslices', group: 'discovery.k8s.io', version: 'v1', namespaced: true },
  endpointSliceSchema,
);

export const serviceCidrSchema = z.object({ metadata: metadataSchema, spec: z.object({ cidrs: listOf(z.string()) }) });
export type ServiceCidr = z.infer<typeof serviceCidrSchema>;
/** Since Kubernetes 1.33; older servers answer 404. */
export const serviceCidrs = defineResource<ServiceCidr>(
  { kind: 'ServiceCIDR', plural: 'servicecidrs', group: 'networking.k8s.io', version: 'v1', namespaced: false },
  serviceCidrSchema,
);
