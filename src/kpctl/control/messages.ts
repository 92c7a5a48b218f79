import { z } from 'zod';
import { claimTargetSchema } from '../../claims/messages.ts';
import { joinedSchema } from '../up/joined.ts';

/**
 * What a running `kpctl intercept`, `kpctl run` or `kpctl up` says of itself over its UNIX socket, to `kpctl status` and
 * `kpctl leave` of the same user. HTTP/1.1 on the socket: `GET /status` → StatusReport, `POST /leave` → LeaveAnswer.
 */

export const statusReportSchema = z.object({
  pid: z.int(),
  kind: z.enum(['intercept', 'run']),
  version: z.string(),
  context: z.string(),
  server: z.string(),
  namespace: z.string(),
  /** What its tunnels use on the way to the API server; absent until there has been one. */
  transport: z.enum(['spdy', 'websocket']).optional(),
  /** `deployment/web`; absent for a run through the gateway. */
  workload: z.string().optional(),
  /** Of a run: its command line. */
  command: z.array(z.string()).optional(),
  /** ISO 8601. */
  since: z.string(),
  ports: z.array(z.object({ remote: z.string(), local: z.int(), protocol: z.enum(['tcp', 'udp']) })),
  /** The workload's own calls that are sent here: `db:5432`. */
  outbound: z.array(z.object({ remote: z.string(), local: z.int() })),
  pods: z.array(
    z.object({
      name: z.string(),
      namespace: z.string(),
      /** The tunnel: `up`, `connecting`, `lost` (it is reconnecting), `gone` (the pod is no more). */
      tunnel: z.enum(['up', 'connecting', 'lost', 'gone']),
      /** What is claimed there by this process now. */
      claimed: z.array(claimTargetSchema),
      activeFlows: z.int(),
    }),
  ),
});
export type StatusReport = z.infer<typeof statusReportSchema>;

/** The same of `kpctl up`, on the socket `up.sock` of the user who has called it. */
export const upStatusSchema = joinedSchema.extend({
  pid: z.int(),
  kind: z.literal('up'),
  version: z.string(),
  transport: z.enum(['spdy', 'websocket']).optional(),
  /** ISO 8601. */
  since: z.string(),
  /** Of its exit, as in {@link statusReportSchema}. */
  tunnel: z.enum(['up', 'connecting', 'lost', 'gone']),
  /** Flows that are open. */
  activeFlows: z.int(),
});
export type UpStatus = z.infer<typeof upStatusSchema>;

export const leaveAnswerSchema = z.object({ left: z.boolean() });
export type LeaveAnswer = z.infer<typeof leaveAnswerSchema>;
