import { z } from 'zod';
import { listOf, optionalBoolean, optionalText, ownerReferenceSchema } from '../../cluster/resource.ts';
import type { JsonPatch } from '../injection/index.ts';

/** `admission.k8s.io/v1 AdmissionReview`, the parts that we use. */

const reviewSchema = z.object({
  apiVersion: z.literal('admission.k8s.io/v1'),
  kind: z.literal('AdmissionReview'),
  request: z.object({
    uid: z.string(),
    namespace: optionalText,
    operation: z.string(),
    kind: z.object({ group: z.string(), version: z.string(), kind: z.string() }),
    subResource: optionalText,
    dryRun: optionalBoolean,
    /** Its parts are checked by whoever reads them. */
    object: z.unknown(),
  }),
});
export type AdmissionRequest = z.infer<typeof reviewSchema>['request'];

/** Only the uid, of a review that is not understood otherwise: with it the answer can say that the pod is allowed. */
const uidSchema = z.object({ request: z.object({ uid: z.string() }) });

export type ReadReview =
  | { readonly kind: 'request'; readonly request: AdmissionRequest }
  | { readonly kind: 'unreadable'; readonly uid: string | undefined; readonly reason: string };

export function readReview(text: string): ReadReview {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { kind: 'unreadable', uid: undefined, reason: 'it is not JSON' };
  }
  const parsed = reviewSchema.safeParse(json);
  if (parsed.success) return { kind: 'request', request: parsed.data.request };
  const [issue] = parsed.error.issues;
  const reason = `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
  return { kind: 'unreadable', uid: uidSchema.safeParse(json).data?.request.uid, reason };
}

/** An answer that allows, with a patch where there is something to change. `warnings` are shown to who made the pod (kubectl prints them). */
export function allow(uid: string, patch: JsonPatch = [], warnings: readonly string[] = []): string {
  return JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: {
      uid,
      allowed: true,
      ...(patch.length === 0 ? {} : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }),
      ...(warnings.length === 0 ? {} : { warnings }),
    },
  });
}

const ownedSchema = z.object({
  metadata: z.object({ name: optionalText, generateName: optionalText, ownerReferences: listOf(ownerReferenceSchema) }),
});

/** How a pod that is about to be created is called, and who owns it; nothing where that cannot be read. */
export function identityOf(pod: unknown): z.infer<typeof ownedSchema>['metadata'] {
  return ownedSchema.safeParse(pod).data?.metadata ?? { name: undefined, generateName: undefined, ownerReferences: [] };
}
