import { z } from 'zod';
import { claimTargetSchema } from '../../claims/messages.ts';

/**
 * What a running `kpctl intercept` or `kpctl run` says of itself over its UNIX socket, to `kpctl status` and
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

export const leaveAnswerSchema = z.object({ left: z.boolean() });
export type LeaveAnswer = z.infer<typeof leaveAnswerSchema>;
