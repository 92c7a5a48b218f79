import { pods, type Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { EPHEMERAL_PREFIX, ephemeralEntries } from '../../cluster/workloads.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { ephemeralContainer, type EphemeralImage } from './container.ts';

/** Two laptops that add one at the same time: the later one looks again. */
const ATTEMPTS = 5;
/** Waiting reasons of a container that is still on its way. */
const STARTING: ReadonlySet<string | undefined> = new Set([undefined, 'ContainerCreating', 'PodInitializing']);

/** The name of an entry of ours that runs, or is going to: it is used, and no other one added. */
export function usableEntry(pod: Pod): string | undefined {
  const usable = ephemeralEntries(pod).find(
    ({ state }) => state?.running != null || (state?.terminated == null && STARTING.has(state?.waiting?.reason)),
  );
  return usable?.container.name;
}

/**
 * Adds kpeering to a running pod as an ephemeral container, and answers its name. Failures: API_FORBIDDEN, INJECT_POD_SECURITY where admission
 * refuses it, EPHEMERAL_UNSUPPORTED where the cluster has none.
 */
export async function addEphemeral(cluster: Cluster, pod: Pod, image: EphemeralImage, options: AbortOptions = {}): Promise<string> {
  let current = pod;
  for (let attempt = 1; ; attempt++) {
    const usable = usableEntry(current);
    if (usable !== undefined) return usable;
    const { name: podName, namespace } = current.metadata;
    const name = nextName(current);
    const object = { spec: { ephemeralContainers: [ephemeralContainer(name, image)] } };
    const place = { ...(namespace !== undefined && { namespace }), ...options };
    try {
      await cluster.patch(pods, podName, { kind: 'strategic', object }, { subresource: 'ephemeralcontainers', ...place });
      return name;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      // Somebody else's entry has this name already; entries cannot be changed.
      const taken = error.code === 'API_CONFLICT' || (error.code === 'API_INVALID' && /ephemeralContainers/.test(error.message));
      if (!taken || attempt === ATTEMPTS) throw refusalOf(error, podName);
      current = await cluster.get(pods, podName, place);
      if (ephemeralEntries(current).every(({ container }) => container.name !== name)) throw refusalOf(error, podName);
    }
  }
}

/** One more than the highest: a name is used once in the life of a pod. */
function nextName(pod: Pod): string {
  const numbers = ephemeralEntries(pod).map(({ container }) => Number(container.name.slice(EPHEMERAL_PREFIX.length)));
  return `${EPHEMERAL_PREFIX}${Math.max(0, ...numbers.filter(Number.isInteger)) + 1}`;
}

function refusalOf(error: Failure, pod: string): Failure {
  if (error.code === 'API_FORBIDDEN' && /violates PodSecurity/.test(error.message)) {
    return new Failure('INJECT_POD_SECURITY', `pod ${pod} gets no ephemeral container: ${error.message}`, {
      remedy: 'use a namespace that enforces privileged, or the gateway: kpctl run without -w',
      cause: error,
    });
  }
  if (error.code === 'NOT_FOUND' && !/pods "/.test(error.message)) {
    return new Failure('EPHEMERAL_UNSUPPORTED', 'the cluster has no ephemeral containers', {
      likely: 'they came with Kubernetes 1.25',
      remedy: 'use kpctl inject, which restarts the pods',
      cause: error,
    });
  }
  return error;
}
