import { pods as podResource } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { isReady, podSelection, podsOf, sidecarOf, type Workload } from '../../cluster/workloads.ts';
import { messageOf } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { Interception } from './interception.ts';
import { resolveRoutes, type ResolvedPorts } from './routes.ts';

export interface FollowOptions {
  readonly cluster: Cluster;
  readonly workload: Workload;
  readonly ports: ResolvedPorts;
  readonly interception: Interception;
  /** A sentence for the user: a new pod that cannot be taken in. */
  readonly warn: (line: string) => void;
}

/** Changes of pods come in bursts: they are looked at together. */
const SETTLE_MILLISECONDS = 200;

/**
 * Takes pods that come later (a rollout, a scale-up, a replacement) into an interception once they are ready. Pods that
 * go leave it by themselves. Nothing to follow: a Service without a selector.
 */
export function followPods(options: FollowOptions): Closeable {
  const { cluster, workload, interception, ports, warn } = options;
  const selection = podSelection(workload);
  if (selection === undefined) return { close: async () => {}, [Symbol.asyncDispose]: async () => {} };
  const watch = cluster.watch(podResource, selection);
  const refused = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function look(): Promise<void> {
    timer = undefined;
    const found = await podsOf(cluster, workload).catch(() => []); // the next change, or the next look, has it
    for (const pod of found) {
      const { name } = pod.metadata;
      if (closed || interception.has(name) || refused.has(name) || !isReady(pod)) continue;
      if (sidecarOf(pod) === undefined) {
        refused.add(name);
        warn(`new pod ${name} has no running kpeering sidecar: its callers are not intercepted`);
        continue;
      }
      try {
        const [routes] = resolveRoutes(workload, [pod], ports.mappings).pods;
        if (routes !== undefined) interception.join(routes);
      } catch (error) {
        refused.add(name);
        warn(`new pod ${name}: ${messageOf(error)}`);
      }
    }
  }
  const unsubscribe = watch.onChange(() => {
    timer ??= setTimeout(() => void look(), SETTLE_MILLISECONDS);
  });
  // Without the right to watch pods there is nothing to follow; the pods of the start stay intercepted.
  watch.synced.catch((error: unknown) => warn(`pods that come later are not followed: ${messageOf(error)}`));

  const close = async (): Promise<void> => {
    closed = true;
    clearTimeout(timer);
    unsubscribe();
    await watch.close();
  };
  return { close, [Symbol.asyncDispose]: close };
}
