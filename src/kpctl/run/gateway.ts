import { pods as podResource } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { isReady } from '../../cluster/workloads.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { LinkedPod } from '../links/pod-link.ts';

/** Where a gateway is looked for after the user's own namespace. */
const SYSTEM_NAMESPACE = 'kpeering-system';
const SELECTOR = 'kpeering.io/role=gateway';

/**
 * A ready gateway pod: in the namespace in use, else in `kpeering-system`. Fails with GATEWAY_MISSING, which names `-w`;
 * a namespace whose pods may not be listed counts as one without a gateway.
 */
export async function findGateway(cluster: Cluster, options: AbortOptions = {}): Promise<LinkedPod> {
  for (const namespace of new Set([cluster.namespace, SYSTEM_NAMESPACE])) {
    const found = await cluster.list(podResource, { namespace, labelSelector: SELECTOR, ...options }).catch((error: unknown) => {
      if (error instanceof Failure && (error.code === 'API_FORBIDDEN' || error.code === 'NOT_FOUND')) return [];
      throw error;
    });
    const ready = found.filter((pod) => isReady(pod));
    const pod = ready[Math.floor(Math.random() * ready.length)];
    if (pod !== undefined) return { namespace, name: pod.metadata.name };
  }
  throw new Failure('GATEWAY_MISSING', `no ready gateway in namespace ${cluster.namespace} nor in ${SYSTEM_NAMESPACE}`, {
    remedy:
      'name a workload that has a sidecar, whose pod is the exit then: kpctl run -w WORKLOAD -- COMMAND; or apply deploy/gateway.yaml',
  });
}
