import { z } from 'zod';
import { defineResource, metadataSchema, optionalNumber, optionalText } from './resource.ts';

/** Leases (`coordination.k8s.io/v1`): who holds something, as long as they renew it. */
const specSchema = z.object({
  holderIdentity: optionalText,
  /** How long after `renewTime` it is still held. */
  leaseDurationSeconds: optionalNumber,
  acquireTime: optionalText,
  renewTime: optionalText,
  leaseTransitions: optionalNumber,
});

export const leaseSchema = z.object({
  metadata: metadataSchema,
  spec: specSchema.nullish().transform((spec) => spec ?? specSchema.parse({})),
});
export type Lease = z.infer<typeof leaseSchema>;

export const leases = defineResource<Lease>(
  { kind: 'Lease', plural: 'leases', group: 'coordination.k8s.io', version: 'v1', namespaced: true },
  leaseSchema,
);

/** As `meta/v1 MicroTime` wants it: `2026-11-21T19:00:00.000000Z`. */
export function microTime(date: Date = new Date()): string {
  return date.toISOString().replace('Z', '000Z');
}
