import { z } from 'zod';
import { defineResource, listOf, mapOf, metadataSchema, optionalText } from './resource.ts';

/** ConfigMaps, Secrets, namespaces and nodes (`core/v1`). */

export const configMapSchema = z.object({
  metadata: metadataSchema,
  data: mapOf(z.string()),
  /** base64 */
  binaryData: mapOf(z.string()),
});
export type ConfigMap = z.infer<typeof configMapSchema>;
export const configMaps = defineResource<ConfigMap>(
  { kind: 'ConfigMap', plural: 'configmaps', group: '', version: 'v1', namespaced: true },
  configMapSchema,
);

export const secretSchema = z.object({
  metadata: metadataSchema,
  type: optionalText,
  /** base64 */
  data: mapOf(
    z
      .string()
      .nullable()
      .transform((value) => value ?? ''),
  ),
});
export type Secret = z.infer<typeof secretSchema>;
export const secrets = defineResource<Secret>(
  { kind: 'Secret', plural: 'secrets', group: '', version: 'v1', namespaced: true },
  secretSchema,
);

export const namespaceSchema = z.object({ metadata: metadataSchema });
export type Namespace = z.infer<typeof namespaceSchema>;
export const namespaces = defineResource<Namespace>(
  { kind: 'Namespace', plural: 'namespaces', group: '', version: 'v1', namespaced: false },
  namespaceSchema,
);

export const nodeSchema = z.object({
  metadata: metadataSchema,
  spec: z.object({ podCIDR: optionalText, podCIDRs: listOf(z.string()) }),
  status: z
    .object({
      addresses: listOf(z.object({ type: z.string(), address: z.string() })),
      /** Quantities, for resourceFieldRef without a limit. */
      allocatable: mapOf(z.union([z.number(), z.string()])),
    })
    .nullish()
    .transform((value) => value ?? { addresses: [], allocatable: {} }),
});
export type Node = z.infer<typeof nodeSchema>;
export const nodes = defineResource<Node>({ kind: 'Node', plural: 'nodes', group: '', version: 'v1', namespaced: false }, nodeSchema);
