import { z } from 'zod';
import { defineResource, mapOf, optionalText } from './resource.ts';
import type { Manifest, Resource } from './types.ts';

/** An object of any kind as the API has it: nothing is left out. In a list, without `apiVersion` and `kind`. */
export const storedObjectSchema = z.looseObject({
  metadata: z.looseObject({
    name: z.string(),
    namespace: optionalText,
    uid: optionalText,
    resourceVersion: optionalText,
    deletionTimestamp: optionalText,
    labels: mapOf(z.string()),
    annotations: mapOf(z.string()),
  }),
});
export type StoredObject = z.infer<typeof storedObjectSchema>;
export type AnyKind = Resource<StoredObject>;

/** A kind whose objects are read whole. */
export function anyKind(names: Pick<AnyKind, 'kind' | 'plural' | 'group' | 'version' | 'namespaced'>): AnyKind {
  return defineResource<StoredObject>(names, storedObjectSchema);
}

/** Whether a manifest is of this kind. */
export function isOfKind({ apiVersion, kind }: Manifest, resource: AnyKind): boolean {
  return kind === resource.kind && apiVersion === (resource.group === '' ? resource.version : `${resource.group}/${resource.version}`);
}
