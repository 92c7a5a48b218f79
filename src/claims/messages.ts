import { z } from 'zod';

/**
 * The requests that a laptop's session makes of a sidecar, by `Session.request`. Methods:
 *
 * | method | parameters | answer |
 * | --- | --- | --- |
 * | `claim` | ClaimTarget | ClaimAnswer; error `held` with details Holder, `port-not-captured` with details NotCaptured |
 * | `release` | ClaimTarget | `{}`; releasing what is not held is fine |
 * | `claims` | `{}` | ClaimsAnswer |
 * | `prove` | `{}` | ProveAnswer |
 * | `rules` | `{}` | RulesAnswer |
 *
 * Notices of the sidecar: `staying-ended` with a ClaimTarget; of the gateway, too: `draining` (notices.ts).
 */

const port = z.int().min(1).max(65_535);

/** Who holds a claim, as others are told. */
export const holderSchema = z.object({
  /** `alice@mbp`: user and host of the laptop. */
  name: z.string(),
  /** The API server's name of the user, as far as the laptop could ask. */
  user: z.string().optional(),
  /** ISO 8601. */
  since: z.string(),
  /** True: the laptop is not connected now. The claim ends within seconds unless it comes back. */
  away: z.boolean().optional(),
});
export type Holder = z.infer<typeof holderSchema>;

/**
 * What is claimed. Inbound (no `address`): flows from outside to this port of the pod. Outbound: the pod's own flows to `address` and `port`
 * (TCP only), an IP address as the kernel writes it.
 */
export const claimTargetSchema = z.object({
  protocol: z.enum(['tcp', 'udp']),
  port,
  address: z.union([z.ipv4(), z.ipv6()]).optional(),
});
export type ClaimTarget = z.infer<typeof claimTargetSchema>;

export const claimAnswerSchema = z.object({
  /** True: the same session held it already (it was taken again within the grace). */
  again: z.boolean(),
  /** Established connections of this port that began before the claim and stay with the app. The notice `staying-ended` follows when all are gone. */
  staying: z.int().min(0).optional(),
});
export type ClaimAnswer = z.infer<typeof claimAnswerSchema>;

/** Details of the error `port-not-captured`: what the pod's rules do capture. */
export const notCapturedSchema = z.object({
  mode: z.enum(['redirect', 'tproxy']),
  tcp: z.array(z.string()),
  udp: z.array(z.string()),
  outbound: z.array(z.string()),
});
export type NotCaptured = z.infer<typeof notCapturedSchema>;

/** The notice `staying-ended`: the last connection that stayed with the app has ended. */
export const stayingEndedSchema = claimTargetSchema;

/** The answer to `prove`: a connection from outside the pod to `port` within ten seconds is answered, as an HTTP response, with `token`. */
export const proveAnswerSchema = z.object({ port, token: z.string().min(16).max(64) });
export type ProveAnswer = z.infer<typeof proveAnswerSchema>;

/** The answer to `rules`: how this pod captures. */
export const rulesAnswerSchema = z.object({
  mode: z.enum(['redirect', 'tproxy']),
  reason: z.string(),
  backend: z.string(),
  tcp: z.array(z.string()),
  udp: z.array(z.string()),
  except: z.array(z.string()),
  outbound: z.array(z.string()),
});
export type RulesAnswer = z.infer<typeof rulesAnswerSchema>;

export const claimsAnswerSchema = z.object({
  claims: z.array(
    z.object({
      ...claimTargetSchema.shape,
      holder: holderSchema,
      /** `grace`: its laptop is away, and has until the grace ends to come back. */
      state: z.enum(['active', 'grace']),
      /** Flows that go to the holder now. */
      activeFlows: z.int().min(0),
    }),
  ),
});
export type ClaimsAnswer = z.infer<typeof claimsAnswerSchema>;
