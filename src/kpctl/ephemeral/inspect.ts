import { defineResource, metadataSchema } from '../../cluster/resource.ts';
import { pods, type Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { resolvePort, type Workload } from '../../cluster/workloads.ts';
import { admittedPodSchema } from '../../operator/injection/admitted-pod.ts';
import type { InjectedContainer } from '../../operator/injection/containers.ts';
import type { PodNamespace } from '../../operator/injection/index.ts';
import { probedPorts } from '../../operator/injection/probes.ts';
import { refuseByPodSecurity, refuseCapture } from '../../operator/injection/refusals.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { PortMapping } from '../options.ts';

/** A pod with what decides whether it can be captured, and with its probes. */
const inspectedPods = defineResource({ ...pods, namespaced: true }, admittedPodSchema.extend({ metadata: metadataSchema }));

export interface Inspection {
  readonly workload: Workload;
  /** What `--port` names. */
  readonly ports: readonly PortMapping[];
  /** Undefined where the user may not read it: then the API server decides alone. */
  readonly namespace: PodNamespace | undefined;
  readonly container: InjectedContainer;
}

/**
 * Throws what keeps a running pod from being captured: a Failure `INJECT_…` (its node's network, a static pod, Windows, our group or ports taken, Pod
 * Security). Answers a sentence for each probe that will ask the laptop while its port is claimed.
 */
export async function inspectPod(
  cluster: Cluster,
  pod: Pod,
  inspection: Inspection,
  options: AbortOptions = {},
): Promise<readonly string[]> {
  const { name, namespace = inspection.workload.namespace } = pod.metadata;
  const inspected = await cluster.get(inspectedPods, name, { namespace, ...options });
  try {
    refuseCapture(inspected);
    if (inspection.namespace !== undefined) refuseByPodSecurity(inspected, inspection.namespace, [inspection.container]);
  } catch (reason) {
    throw reason instanceof Failure ? aboutPod(name, reason) : reason;
  }
  const claimed = new Set(
    inspection.ports.flatMap(({ remote, protocol }) =>
      resolvePort(inspection.workload, [pod], remote, protocol).flatMap((found) => (found.protocol === 'tcp' ? [found.port] : [])),
    ),
  );
  return probedPorts(inspected)
    .filter(({ port }) => claimed.has(port))
    .map(({ what, port }) => `the ${what} asks port ${port}: while it is claimed, the kubelet asks your process, not the app`);
}

function aboutPod(pod: string, reason: Failure): Failure {
  return new Failure(reason.code, `pod ${pod} gets no ephemeral container: ${reason.message}`, {
    ...(reason.likely !== undefined && { likely: reason.likely }),
    ...(reason.remedy !== undefined && { remedy: reason.remedy }),
    cause: reason,
  });
}
