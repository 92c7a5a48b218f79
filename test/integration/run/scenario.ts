import { z } from 'zod';
import type { Endpoint } from '../../../src/tunnel/types.ts';

/** What the driver is to do: its first argument, as JSON. */
export const scenarioSchema = z.object({
  command: z.array(z.string()),
  environment: z.record(z.string(), z.string()).exactOptional(),
  cwd: z.string().exactOptional(),
  ipv6: z.boolean().exactOptional(),
  /** Where flows go: from `address:port` to a port of the laptop's 127.0.0.1. Others are reset. */
  laptop: z.record(z.string(), z.int()).exactOptional(),
});
export type Scenario = z.infer<typeof scenarioSchema>;

/** What the driver tells over IPC. */
export type Report =
  | { readonly type: 'flow'; readonly source: Endpoint; readonly destination: Endpoint }
  | { readonly type: 'refused'; readonly destination: Endpoint }
  | { readonly type: 'unavailable'; readonly port: number; readonly code: string }
  | { readonly type: 'ports'; readonly ports: number[] }
  /** `setUp` and `start` in milliseconds. */
  | { readonly type: 'started'; readonly pid: number; readonly setUp: number; readonly start: number }
  | { readonly type: 'exited'; readonly code: number }
  | { readonly type: 'failed'; readonly failure: { readonly code: string; readonly text: string; readonly exitCode: number } };
