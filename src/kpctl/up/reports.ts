import { z } from 'zod';
import { Failure } from '../../platform/errors.ts';
import { joinedSchema } from './joined.ts';

/** What the agent tells whoever looks on: the front of `kpctl up`. The helper passes it on unread. */
const agentReportSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('progress'), text: z.string() }),
  z.object({ type: z.literal('warning'), text: z.string() }),
  /** Names and capture work. */
  z.object({ type: z.literal('ready'), joined: joinedSchema }),
  /** The agent gives up: it ends, and the machine is as before. */
  z.object({
    type: z.literal('failed'),
    failure: z.object({
      code: z.string(),
      what: z.string(),
      likely: z.string().optional(),
      remedy: z.string().optional(),
      exitCode: z.int(),
    }),
  }),
]);
export type AgentReport = z.infer<typeof agentReportSchema>;

/** Undefined: a message that is none of ours. */
export function parseAgentReport(message: unknown): AgentReport | undefined {
  return agentReportSchema.safeParse(message).data;
}

/** What the agent failed with, as a report. Anything but a Failure is a bug, which the log has with its stack. */
export function failureReport(failure: Failure): AgentReport {
  const { code, message: what, likely, remedy, exitCode } = failure;
  return {
    type: 'failed',
    failure: { code, what, exitCode, ...(likely !== undefined && { likely }), ...(remedy !== undefined && { remedy }) },
  };
}

/** The Failure of a report, in the front. */
export function reportedFailure({ failure }: Extract<AgentReport, { type: 'failed' }>): Failure {
  const { code, what, likely, remedy, exitCode } = failure;
  return new Failure(code, what, { ...(likely !== undefined && { likely }), ...(remedy !== undefined && { remedy }), exitCode });
}
