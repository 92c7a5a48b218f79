import { z } from 'zod';
import { containerPortSchema } from '../../cluster/pods.ts';
import { listOf, mapOf, numberOrName, optionalBoolean, optionalNumber, optionalText } from '../../cluster/resource.ts';
import { INIT_NAME, SIDECAR_NAME } from './names.ts';

/**
 * The parts of a pod that decide about its injection, of an object in an AdmissionReview (its `name` may be missing still) or of a pod
 * template. What is not named here is neither read nor changed. A Go client writes what is empty as null.
 */

const absent = <T>(value: T | null | undefined): T | undefined => value ?? undefined;

const networkAction = z.object({ port: numberOrName, host: optionalText }).nullish().transform(absent);

/** A probe, or a hook of the container's life. Of its actions, those that are made over the network. */
const handler = z
  .object({
    httpGet: networkAction,
    tcpSocket: networkAction,
    grpc: z.object({ port: z.number() }).nullish().transform(absent),
  })
  .nullish()
  .transform(absent);
export type Handler = NonNullable<z.infer<typeof handler>>;

const container = z.object({
  name: z.string(),
  ports: listOf(containerPortSchema),
  env: listOf(z.object({ name: z.string(), value: optionalText })),
  securityContext: z.object({ runAsGroup: optionalNumber }).nullish().transform(absent),
  /** `Always` makes an init container a sidecar. */
  restartPolicy: optionalText,
  startupProbe: handler,
  livenessProbe: handler,
  readinessProbe: handler,
  lifecycle: z.object({ postStart: handler, preStop: handler }).nullish().transform(absent),
});
export type AdmittedContainer = z.infer<typeof container>;

const metadata = z.object({ labels: mapOf(z.string()), annotations: mapOf(z.string()) });

export const admittedPodSchema = z.object({
  metadata: metadata.nullish().transform((value) => value ?? { labels: {}, annotations: {} }),
  spec: z.object({
    containers: listOf(container),
    initContainers: listOf(container),
    volumes: listOf(z.object({ name: z.string() })),
    imagePullSecrets: listOf(z.object({ name: optionalText })),
    hostNetwork: optionalBoolean,
    os: z.object({ name: z.string() }).nullish().transform(absent),
    nodeSelector: mapOf(z.string()),
    /** `Always` when it is not said. */
    restartPolicy: optionalText,
    /** 30 when it is not said. */
    terminationGracePeriodSeconds: optionalNumber,
    securityContext: z
      .object({ runAsGroup: optionalNumber, seccompProfile: z.object({ type: z.string() }).nullish().transform(absent) })
      .nullish()
      .transform(absent),
    /** Of the pod as a whole (Kubernetes 1.32): whether there are any. */
    resources: z.looseObject({}).nullish().transform(absent),
  }),
});
export type AdmittedPod = z.infer<typeof admittedPodSchema>;

/** A container and where it stands in the pod. */
export interface PlacedContainer {
  readonly list: 'initContainers' | 'containers';
  readonly index: number;
  readonly container: AdmittedContainer;
}

/** Every container, init containers first. */
export function placedContainers({ spec }: AdmittedPod): readonly PlacedContainer[] {
  return [
    ...spec.initContainers.map((each, index): PlacedContainer => ({ list: 'initContainers', index, container: each })),
    ...spec.containers.map((each, index): PlacedContainer => ({ list: 'containers', index, container: each })),
  ];
}

/** The containers that run as long as the pod, without kpeering's: the app's own first, then sidecars among the init containers. */
export function lastingContainers(pod: AdmittedPod): readonly PlacedContainer[] {
  const lasting = placedContainers(pod).filter(
    ({ list, container: { name, restartPolicy } }) => !isOurs(name) && (list === 'containers' || restartPolicy === 'Always'),
  );
  return [...lasting.filter(({ list }) => list === 'containers'), ...lasting.filter(({ list }) => list === 'initContainers')];
}

export function isOurs(name: string): boolean {
  return name === INIT_NAME || name === SIDECAR_NAME;
}
