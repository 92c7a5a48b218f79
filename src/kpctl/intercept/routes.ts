import type { Pod } from '../../cluster/resources.ts';
import { resolvePort, workloadLabel, type Workload } from '../../cluster/workloads.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import { ports as ownPorts } from '../../platform/ports.ts';
import type { LinkedPod } from '../links/pod-link.ts';
import type { PortMapping } from '../options.ts';

/** Where the flows of one pod's claimed ports go: container port → local port. */
export interface PodRoutes {
  readonly pod: LinkedPod;
  readonly routes: ReadonlyMap<number, number>;
}

/** What `--port` came to. */
export interface ResolvedPorts {
  readonly pods: readonly PodRoutes[];
  /** As given, with the local port filled in. */
  readonly mappings: readonly { readonly remote: string; readonly local: number }[];
  /** Sentences for the user: a port that no container declares. */
  readonly warnings: readonly string[];
}

/**
 * The container ports that `--port` means in each pod. LOCAL defaults to REMOTE's number, or to the container port's
 * where REMOTE is a name. Failures: PORT_INVALID, PORT_NOT_FOUND, PORT_RESERVED (our own ports), PORT_REPEATED.
 */
export function resolveRoutes(workload: Workload, pods: readonly Pod[], wanted: readonly PortMapping[]): ResolvedPorts {
  const warnings: string[] = [];
  const mappings: { remote: string; local: number }[] = [];
  const routes = new Map(pods.map((pod) => [pod, new Map<number, number>()]));
  for (const { remote, local: givenLocal } of wanted) {
    const resolved = resolvePort(workload, pods, remote);
    const first = resolved[0];
    if (first === undefined) continue;
    const local = givenLocal ?? (/^\d+$/.test(remote) ? Number(remote) : first.port);
    mappings.push({ remote, local });
    if (!first.declared) {
      warnings.push(`no container of ${workloadLabel(workload)} declares port ${first.port}: nothing may listen there`);
    }
    for (const { pod, port } of resolved) {
      assertClaimable(port, remote);
      const ofPod = routes.get(pod);
      if (ofPod?.has(port) === true) {
        throw new Failure('PORT_REPEATED', `--port names container port ${port} of ${pod.metadata.name} twice`, {
          exitCode: ExitCode.usage,
        });
      }
      ofPod?.set(port, local);
    }
  }
  const linked = pods.map((pod) => ({
    pod: { namespace: pod.metadata.namespace ?? workload.namespace, name: pod.metadata.name },
    routes: routes.get(pod) ?? new Map<number, number>(),
  }));
  return { pods: linked, mappings, warnings };
}

function assertClaimable(port: number, remote: string): void {
  const own: readonly number[] = Object.values(ownPorts);
  if (!own.includes(port)) return;
  throw new Failure('PORT_RESERVED', `port ${remote} is one of kpeering's own (${own.join(', ')})`, { exitCode: ExitCode.usage });
}
