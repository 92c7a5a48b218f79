import { z } from 'zod';
import type { CapturedCounters } from '../../../src/simulator/network/index.ts';
import type { Endpoint } from '../../../src/tunnel/types.ts';

const file = z.object({ path: z.string(), mode: z.int(), content: z.string() });
const volume = z.object({ name: z.string(), mode: z.int(), files: z.array(file).exactOptional() });

/** What the driver is told over IPC while COMMAND runs: new files for a volume. */
export const updateSchema = z.object({ name: z.string(), files: z.array(file) });

/** What the driver is to do: its first argument, as JSON. */
export const scenarioSchema = z.object({
  command: z.array(z.string()),
  environment: z.record(z.string(), z.string()).exactOptional(),
  cwd: z.string().exactOptional(),
  ipv6: z.boolean().exactOptional(),
  /** Where flows go: from `address:port` to a port of the laptop's 127.0.0.1. Others are reset. */
  laptop: z.record(z.string(), z.int()).exactOptional(),
  /**
   * Where datagrams for the cluster (10.96.0.0/16, fd12::/16) come out of a tunnel that the driver imitates: from `address:port` to a port of the
   * laptop's 127.0.0.1; 0 for a host that is not there. Other ports of the cluster's refuse; other addresses are the laptop's to reach.
   */
  datagrams: z.record(z.string(), z.int()).exactOptional(),
  /** The tunnel's far end does not know datagrams. */
  oldFarEnd: z.boolean().exactOptional(),
  /** What `mountVolumes` is given. */
  volumes: z
    .object({
      volumes: z.array(volume),
      mounts: z.array(z.object({ path: z.string(), volume: z.string(), subPath: z.string(), readOnly: z.boolean() })),
      keepVisible: z.array(z.string()),
    })
    .exactOptional(),
});
export type Scenario = z.infer<typeof scenarioSchema>;

/** What the driver tells over IPC. */
export type Report =
  | { readonly type: 'flow'; readonly source: Endpoint; readonly destination: Endpoint }
  | { readonly type: 'refused'; readonly destination: Endpoint }
  | { readonly type: 'association'; readonly source: Endpoint; readonly destination: Endpoint }
  | { readonly type: 'datagrams'; readonly counters: CapturedCounters }
  | { readonly type: 'unavailable'; readonly port: number; readonly code: string }
  | { readonly type: 'ports'; readonly ports: number[] }
  | { readonly type: 'mounted'; readonly problems: string[] }
  /** `setUp` and `start` in milliseconds. */
  | { readonly type: 'started'; readonly pid: number; readonly setUp: number; readonly start: number }
  | { readonly type: 'exited'; readonly code: number }
  | { readonly type: 'failed'; readonly failure: { readonly code: string; readonly text: string; readonly exitCode: number } };
