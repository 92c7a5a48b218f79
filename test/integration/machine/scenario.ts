import { z } from 'zod';

/** What the agent of these tests captures; with what it was started. */
export const scenarioSchema = z.object({ capture: z.array(z.string()), never: z.array(z.string()) });
export type Scenario = z.infer<typeof scenarioSchema>;

/** What the agent tells when the machine is joined: what it may do. */
export const readySchema = z.object({
  type: z.literal('ready'),
  pid: z.int(),
  uid: z.int(),
  gid: z.int(),
  groups: z.array(z.int()),
  directory: z.string(),
  home: z.string().optional(),
  secret: z.string().optional(),
  /** Lines of /proc/self/status: `CapEff:\t0000000000000000`. */
  capabilities: z.array(z.string()),
});
export type Ready = z.infer<typeof readySchema>;

/** What the front of these tests prints, a line each. */
export const spokenSchema = z.discriminatedUnion('event', [
  z.object({ event: z.literal('started'), pid: z.int(), repaired: z.array(z.string()) }),
  z.object({ event: z.literal('report'), message: z.unknown() }),
  z.object({ event: z.literal('detached') }),
  z.object({ event: z.literal('failed'), code: z.string(), message: z.string() }),
  z.object({ event: z.literal('exited'), reason: z.string(), message: z.string() }),
]);
export type Spoken = z.infer<typeof spokenSchema>;

/** A flow to this port is for the agent itself: a line of JSON, the networks to capture from then on. */
export const controlPort = 1;
/** Datagrams to this port are refused. */
export const refusedPort = 7000;
