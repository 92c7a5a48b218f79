import type { ClaimTarget } from '../../claims/messages.ts';
import { captureProofOf, type CaptureProof } from '../../cluster/capture-proof.ts';
import type { Pod } from '../../cluster/resources.ts';
import { resolvePort, workloadLabel, type PortProtocol, type Workload } from '../../cluster/workloads.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import { ports as ownPorts } from '../../platform/ports.ts';
import type { LinkedPod } from '../links/pod-link.ts';
import { shortTarget, targetKey, targetLabel } from '../links/targets.ts';
import type { PortMapping } from '../options.ts';

/** Where the flows of one claim go: to 127.0.0.1:`local`. */
export interface Route {
  readonly target: ClaimTarget;
  readonly local: number;
}

/** Where the flows of one pod's claimed ports go. */
export interface PodRoutes {
  readonly pod: LinkedPod;
  /** The pod's own, the main one first. */
  readonly addresses: readonly string[];
  readonly routes: readonly Route[];
  /** What the operator has found out about the pod's capture, if anything. */
  readonly proof?: CaptureProof;
}

/** One `--port` as given, with the local port and the protocol filled in. */
export interface ResolvedMapping {
  readonly remote: string;
  readonly local: number;
  readonly protocol: PortProtocol;
}

/** What `--port` came to. */
export interface ResolvedPorts {
  readonly pods: readonly PodRoutes[];
  readonly mappings: readonly ResolvedMapping[];
  /** Sentences for the user: a port that no container declares. */
  readonly warnings: readonly string[];
}

/**
 * The container ports that `--port` means in each pod. LOCAL defaults to REMOTE's number, or to the container port's
 * where REMOTE is a name. Failures: PORT_INVALID, PORT_NOT_FOUND, PORT_RESERVED (our own ports), PORT_REPEATED.
 */
export function resolveRoutes(workload: Workload, pods: readonly Pod[], wanted: readonly PortMapping[]): ResolvedPorts {
  const warnings: string[] = [];
  const mappings: ResolvedMapping[] = [];
  const routes = new Map(pods.map((pod) => [pod, new Map<string, Route>()]));
  for (const { remote, local: givenLocal, protocol } of wanted) {
    const resolved = resolvePort(workload, pods, remote, protocol);
    const first = resolved[0];
    if (first === undefined) continue;
    const local = givenLocal ?? (/^\d+$/.test(remote) ? Number(remote) : first.port);
    mappings.push({ remote, local, protocol: first.protocol });
    if (!first.declared) {
      const label = shortTarget({ protocol: first.protocol, port: first.port });
      warnings.push(`no container of ${workloadLabel(workload)} declares port ${label}: nothing may listen there`);
    }
    for (const found of resolved) {
      assertClaimable(found.port, remote);
      const target: ClaimTarget = { protocol: found.protocol, port: found.port };
      const ofPod = routes.get(found.pod);
      if (ofPod?.has(targetKey(target)) === true) {
        throw new Failure('PORT_REPEATED', `--port names container ${targetLabel(target)} of ${found.pod.metadata.name} twice`, {
          exitCode: ExitCode.usage,
        });
      }
      ofPod?.set(targetKey(target), { target, local });
    }
  }
  const linked = pods.map((pod) => ({
    pod: { namespace: pod.metadata.namespace ?? workload.namespace, name: pod.metadata.name, uid: pod.metadata.uid },
    addresses: addressesOf(pod),
    routes: [...(routes.get(pod)?.values() ?? [])],
    ...operatorsProof(pod),
  }));
  return { pods: linked, mappings, warnings };
}

/** `web-1 :8080 → 127.0.0.1:3000`; of the workload's own calls `web-1 to 10.96.0.7:5432 → 127.0.0.1:5432`. */
export function describeRoute(pod: string, { target, local }: Route): string {
  const what = target.address === undefined ? `:${shortTarget(target)}` : `to ${shortTarget(target)}`;
  return `${pod} ${what} → 127.0.0.1:${local}`;
}

function operatorsProof(pod: Pod): { readonly proof?: CaptureProof } {
  const proof = captureProofOf(pod);
  return proof === undefined ? {} : { proof };
}

function addressesOf({ status }: Pod): readonly string[] {
  const main = status.podIP === undefined ? [] : [status.podIP];
  return [...new Set([...main, ...status.podIPs.map(({ ip }) => ip)])];
}

function assertClaimable(port: number, remote: string): void {
  const { firstAlias, lastAlias, firstListener, lastListener, ...single } = ownPorts;
  const own: readonly number[] = Object.values(single);
  const isAlias = port >= firstAlias && port <= lastAlias;
  const isListener = port >= firstListener && port <= lastListener;
  if (!own.includes(port) && !isAlias && !isListener) return;
  const ranges = `${firstAlias}-${lastAlias}, ${firstListener}-${lastListener}`;
  throw new Failure('PORT_RESERVED', `port ${remote} is one of kpeering's own (${own.join(', ')}, ${ranges})`, {
    exitCode: ExitCode.usage,
  });
}
