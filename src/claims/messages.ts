import { z } from 'zod';

/**
 * The requests that a laptop's session makes of a sidecar, by `Session.request`. Methods:
 *
 * | method | parameters | answer |
 * | --- | --- | --- |
 * | `claim` | ClaimParameters | ClaimAnswer; error `held` with details Holder, error `port-not-captured` |
 * | `release` | ReleaseParameters | `{}`; releasing what is not held is fine |
 * | `claims` | `{}` | ClaimsAnswer |
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

export const claimParametersSchema = z.object({ protocol: z.literal('tcp'), port });
export type ClaimParameters = z.infer<typeof claimParametersSchema>;

export const claimAnswerSchema = z.object({
  /** True: the same session held it already (it was taken again within the grace). */
  again: z.boolean(),
});
export type ClaimAnswer = z.infer<typeof claimAnswerSchema>;

export const releaseParametersSchema = z.object({ protocol: z.literal('tcp'), port });
export type ReleaseParameters = z.infer<typeof releaseParametersSchema>;

export const claimsAnswerSchema = z.object({
  claims: z.array(
    z.object({
      protocol: z.literal('tcp'),
      port,
      holder: holderSchema,
      /** `grace`: its laptop is away, and has until the grace ends to come back. */
      state: z.enum(['active', 'grace']),
      /** Flows that go to the holder now. */
      activeFlows: z.int().min(0),
    }),
  ),
});
export type ClaimsAnswer = z.infer<typeof claimsAnswerSchema>;
