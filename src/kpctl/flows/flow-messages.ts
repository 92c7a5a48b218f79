import { z } from 'zod';

/**
 * What `GET /flows` of a control socket answers: one JSON object a line. First `list`, a `flow` for each that is open, and `listed`; with `?watch` it goes on with
 * what happens: `opened`, `accepted`, `counted` (once a second, where bytes have moved) and `ended`. To a reader that is too slow for that, it is listed
 * again: what a second `list` does not have is over.
 */

const endpointSchema = z.object({ address: z.string(), port: z.int() });

export const flowSchema = z.object({
  /** Within its kpctl process. */
  id: z.int(),
  direction: z.enum(['out', 'in']),
  protocol: z.enum(['tcp', 'udp']),
  source: endpointSchema,
  destination: endpointSchema,
  /** Of the destination, and of `in` of the source: `db.shop` (a Service), `web-0.shop` (a pod). */
  name: z.string().optional(),
  /** The name that was looked up, when the destination's address was the answer. */
  asked: z.string().optional(),
  /** `direct`: it does not go through the tunnel. */
  via: z.enum(['cluster', 'direct']),
  /** At the other end of the tunnel: `kpeering-system/kpeering-gateway-7d9`. */
  pod: z.string().optional(),
  state: z.enum(['opening', 'open', 'half-closed', 'ended']),
  /** Payload in bytes that the local program has sent and was sent. */
  sent: z.int(),
  received: z.int(),
  /** Milliseconds since 1970. */
  since: z.number(),
  until: z.number().optional(),
  /** Of one that did not end by itself. */
  why: z.string().optional(),
  /** The local program's socket. */
  program: z.object({ local: endpointSchema, remote: endpointSchema.optional() }),
});
export type FlowMessage = z.infer<typeof flowSchema>;

export const flowLineSchema = z.discriminatedUnion('event', [
  z.object({
    event: z.literal('list'),
    pid: z.int(),
    kind: z.enum(['intercept', 'run', 'up']),
    /** A process whose network namespace the local programs are in. Absent: the same as this process's. */
    network: z.int().optional(),
    /** Flows that found the table full, and are not listed. */
    unlisted: z.int(),
  }),
  z.object({ event: z.literal('flow'), flow: flowSchema }),
  z.object({ event: z.literal('listed') }),
  z.object({ event: z.enum(['opened', 'accepted', 'counted', 'ended']), flow: flowSchema }),
]);
export type FlowLine = z.infer<typeof flowLineSchema>;
