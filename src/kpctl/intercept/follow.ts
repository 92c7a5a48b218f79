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
  readonly interception: Pick<Interception, 'has' | 'join'>;
  /** A sentence for the user: a new pod that cannot be taken in. */
  readonly warn: (line: string) => void;
  /** When pods that could not be listed are listed again. Default 2 s. */
  readonly retryMilliseconds?: number;
}

/** Changes of pods come in bursts: they are looked at together. */
const SETTLE_MILLISECONDS = 200;
const RETRY_MILLISECONDS = 2_000;

/**
 * Takes pods that come later (a rollout, a scale-up, a replacement) into an interception once they are ready. Pods that
 * go leave it by themselves. Nothing to follow: a Service without a selector.
 */
export function followPods(options: FollowOptions): Closeable {
  const { cluster, workload, interception, ports, warn, retryMilliseconds = RETRY_MILLISECONDS } = options;
  const selection = podSelection(workload);
  if (selection === undefined) return { close: async () => {}, [Symbol.asyncDispose]: async () => {} };
  const watch = cluster.watch(podResource, selection);
  /** Uids: a StatefulSet gives its names again. */
  const refused = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function look(): Promise<void> {
    timer = undefined;
    const found = await podsOf(cluster, workload).catch(() => undefined);
    if (closed) return;
    if (found === undefined) {
      // The API server is away for a moment, and the pods may not change again.
      timer ??= setTimeout(() => void look(), retryMilliseconds);
      return;
    }
    for (const pod of found) {
      const { name, uid = name } = pod.metadata;
      if (interception.has(name) || refused.has(uid) || !isReady(pod)) continue;
      if (sidecarOf(pod) === undefined) {
        refused.add(uid);
        warn(`new pod ${name} has no running kpeering sidecar: its callers are not intercepted`);
        continue;
      }
      try {
        const [routes] = resolveRoutes(workload, [pod], ports.mappings).pods;
        if (routes !== undefined) interception.join(routes);
      } catch (error) {
        refused.add(uid);
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
