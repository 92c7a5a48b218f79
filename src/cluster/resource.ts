import { z } from 'zod';
import type { KubeObject, Manifest, Resource } from './types.ts';

/** Go writes an empty slice or map as null, or not at all: here both are the empty one. */
export const listOf = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .nullish()
    .transform((value) => value ?? []);

export const mapOf = <T extends z.ZodType>(value: T) =>
  z
    .record(z.string(), value)
    .nullish()
    .transform((map) => map ?? {});

/** A string that is left out where it is empty. */
export const optionalText = z
  .string()
  .nullish()
  .transform((value) => (value === null || value === '' ? undefined : value));

export const optionalNumber = z
  .number()
  .nullish()
  .transform((value) => value ?? undefined);

export const optionalBoolean = z
  .boolean()
  .nullish()
  .transform((value) => value ?? undefined);

/** A number or a name (apimachinery's IntOrString). */
export const numberOrName = z.union([z.number(), z.string()]);

export const ownerReferenceSchema = z.object({
  apiVersion: z.string(),
  kind: z.string(),
  name: z.string(),
  uid: z.string(),
  controller: optionalBoolean,
});
export type OwnerReference = z.infer<typeof ownerReferenceSchema>;

/** `meta/v1 ObjectMeta`. */
export const metadataSchema = z.object({
  name: z.string(),
  namespace: optionalText,
  uid: optionalText,
  resourceVersion: optionalText,
  labels: mapOf(z.string()),
  annotations: mapOf(z.string()),
  ownerReferences: listOf(ownerReferenceSchema),
  creationTimestamp: optionalText,
  deletionTimestamp: optionalText,
});
export type Metadata = z.infer<typeof metadataSchema>;

/** `meta/v1 LabelSelector`. */
export const labelSelectorSchema = z.object({
  matchLabels: mapOf(z.string()),
  matchExpressions: listOf(
    z.object({ key: z.string(), operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']), values: listOf(z.string()) }),
  ),
});
export type LabelSelector = z.infer<typeof labelSelectorSchema>;

/** A {@link Resource} whose objects are checked by `schema`; unknown fields pass, and are dropped. */
export function defineResource<T extends KubeObject>(
  names: Pick<Resource<T>, 'kind' | 'plural' | 'group' | 'version' | 'namespaced'>,
  schema: z.ZodType<T>,
): Resource<T> {
  return { ...names, parse: (value) => schema.parse(value) };
}

const manifestSchema = z.looseObject({ apiVersion: z.string(), kind: z.string(), metadata: z.looseObject({ name: z.string() }) });

/** A kind whose objects are kept whole, as the API server sends them: for who writes objects of many kinds. */
export function manifestResource(
  names: Pick<Resource<KubeObject>, 'kind' | 'plural' | 'group' | 'version' | 'namespaced'>,
): Resource<Manifest & KubeObject> {
  // One object of a list has neither apiVersion nor kind (API conventions: lists and simple kinds).
  const apiVersion = names.group === '' ? names.version : `${names.group}/${names.version}`;
  return {
    ...names,
    parse: (value) =>
      manifestSchema.parse(typeof value === 'object' && value !== null ? { apiVersion, kind: names.kind, ...value } : value),
  };
}

/** The path of a resource's list, or of one object: `/apis/apps/v1/namespaces/shop/deployments/web`. */
export function resourcePath(resource: Resource<KubeObject>, namespace: string | undefined, name?: string): string {
  const group = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope = resource.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${group}${scope}/${resource.plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;
}

/** As RBAC's messages name it: `deployments.apps`, `pods`. */
export function resourceName(resource: Resource<KubeObject>): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}
