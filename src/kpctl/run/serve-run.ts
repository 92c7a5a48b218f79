import type { Cluster } from '../../cluster/types.ts';
import { workloadLabel } from '../../cluster/workloads.ts';
import type { Closeable } from '../../platform/owned.ts';
import { version } from '../../platform/version.ts';
import { serveControl } from '../control/server.ts';
import { answerFlows, type FlowsOf } from '../flows/serve-flows.ts';
import type { PodLink } from '../links/pod-link.ts';
import { podReports } from '../links/pod-report.ts';
import type { Place } from './place.ts';

export interface ServedRun {
  readonly cluster: Cluster;
  readonly place: Place | undefined;
  readonly argv: readonly string[];
  readonly links: () => readonly PodLink[];
  readonly flows: Omit<FlowsOf, 'kind'>;
  readonly leave: () => void;
}

/** Answers `kpctl status`, `leave` and `flows`, until closed. */
export async function serveRun({ cluster, place, argv, links, flows, leave }: ServedRun): Promise<Closeable> {
  const since = new Date().toISOString();
  return await serveControl({
    status: () => ({
      pid: process.pid,
      kind: 'run',
      version,
      context: cluster.context,
      server: cluster.server,
      namespace: place?.workload.namespace ?? cluster.namespace,
      ...(cluster.transport !== undefined && { transport: cluster.transport }),
      ...(place !== undefined && { workload: workloadLabel(place.workload) }),
      command: [...argv],
      since,
      ports: [...(place?.ports.mappings ?? [])],
      outbound: [],
      pods: podReports(links()),
    }),
    leave,
    flows: answerFlows({ ...flows, kind: 'run' }),
  });
}
