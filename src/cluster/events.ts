import { z } from 'zod';
import { defineResource, metadataSchema, optionalNumber, optionalText } from './resource.ts';

/** Events (`core/v1`): what the cluster's parts tell of an object. They are kept for an hour, where nobody has configured another time. */

export const eventSchema = z.object({
  metadata: metadataSchema,
  involvedObject: z.object({ kind: optionalText, name: optionalText, namespace: optionalText, uid: optionalText }),
  /** `FailedCreate` */
  reason: optionalText,
  message: optionalText,
  /** `Normal`, `Warning` */
  type: optionalText,
  count: optionalNumber,
  /** RFC 3339; those of `events.k8s.io` have an eventTime instead. */
  lastTimestamp: optionalText,
  eventTime: optionalText,
});
export type Event = z.infer<typeof eventSchema>;
export const events = defineResource<Event>({ kind: 'Event', plural: 'events', group: '', version: 'v1', namespaced: true }, eventSchema);
