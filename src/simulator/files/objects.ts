import { z } from 'zod';
import type { EnvironmentConfigMap, EnvironmentContainer, EnvironmentPod, EnvironmentSecret } from '../environment/objects.ts';

/** What of a Pod's volumes (core/v1 Volume, VolumeMount) is imitated. Go writes what is not set as null, or not at all. */

const optional = <T extends z.ZodType>(type: T) => type.nullish().transform((value) => value ?? undefined);

const keyToPath = z.object({ key: z.string(), path: z.string(), mode: optional(z.int()) });
export type KeyToPath = z.infer<typeof keyToPath>;

const items = optional(z.array(keyToPath));

const downwardItem = z.object({
  path: z.string(),
  mode: optional(z.int()),
  fieldRef: optional(z.object({ fieldPath: z.string() })),
  resourceFieldRef: optional(
    z.object({
      containerName: optional(z.string()),
      resource: z.string(),
      divisor: optional(z.union([z.string(), z.number()])),
    }),
  ),
});
export type DownwardItem = z.infer<typeof downwardItem>;

const trustBundleSource = z.object({
  name: optional(z.string()),
  signerName: optional(z.string()),
  labelSelector: optional(z.object({}).loose()),
  optional: optional(z.boolean()),
  path: z.string(),
});
export type TrustBundleSource = z.infer<typeof trustBundleSource>;

const tokenSource = z.object({ audience: optional(z.string()), expirationSeconds: optional(z.int()), path: z.string() });
export type TokenSource = z.infer<typeof tokenSource>;

const projectedSource = z.looseObject({
  configMap: optional(z.object({ name: optional(z.string()), items, optional: optional(z.boolean()) })),
  secret: optional(z.object({ name: optional(z.string()), items, optional: optional(z.boolean()) })),
  downwardAPI: optional(z.object({ items: optional(z.array(downwardItem)) })),
  serviceAccountToken: optional(tokenSource),
  clusterTrustBundle: optional(trustBundleSource),
});
export type ProjectedSource = z.infer<typeof projectedSource>;

const defaultMode = optional(z.int());

/** A volume; of the kinds that are not imitated nothing is known but that one of the others is set. */
export const volumeSchema = z.looseObject({
  /** A DNS label: it becomes the name of a folder. */
  name: z.string().regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/),
  configMap: optional(z.object({ name: optional(z.string()), items, defaultMode, optional: optional(z.boolean()) })),
  secret: optional(z.object({ secretName: optional(z.string()), items, defaultMode, optional: optional(z.boolean()) })),
  downwardAPI: optional(z.object({ items: optional(z.array(downwardItem)), defaultMode })),
  projected: optional(z.object({ sources: optional(z.array(projectedSource)), defaultMode })),
  emptyDir: optional(z.object({}).loose()),
});
export type Volume = z.infer<typeof volumeSchema>;

export interface VolumeMount {
  readonly name: string;
  readonly mountPath: string;
  readonly subPath?: string | undefined;
  readonly subPathExpr?: string | undefined;
  readonly readOnly?: boolean | undefined;
}

export interface FilesContainer extends EnvironmentContainer {
  readonly volumeMounts: readonly VolumeMount[];
  readonly securityContext?: { readonly runAsUser?: number | undefined } | null | undefined;
}

/** The pod as `cluster/pods.ts` has it; its volumes unchecked. */
export interface FilesPod extends EnvironmentPod {
  readonly spec: EnvironmentPod['spec'] & {
    readonly containers: readonly FilesContainer[];
    readonly initContainers: readonly FilesContainer[];
    readonly volumes: readonly { readonly name: string }[];
    readonly securityContext?: { readonly fsGroup?: number | undefined; readonly runAsUser?: number | undefined } | null | undefined;
  };
}

/** `binaryData` is base64, as the API has it. */
export interface FilesConfigMap extends EnvironmentConfigMap {
  readonly binaryData?: Readonly<Record<string, string>> | null | undefined;
}

export type FilesSecret = EnvironmentSecret;
