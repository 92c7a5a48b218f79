import { endpointSlices, pods as podResource, SERVICE_NAME_LABEL, type Pod } from '../../cluster/resources.ts';
import type { Cluster, KubeObject } from '../../cluster/types.ts';
import { isFinished, isReady, podSelection, podsOf, sidecarOf, type Workload } from '../../cluster/workloads.ts';
import { messageOf } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { Interception } from './interception.ts';
import type { Preparation } from './preparation.ts';
import { resolveRoutes, type ResolvedPorts } from './routes.ts';

export interface FollowOptions {
  readonly cluster: Cluster;
  readonly workload: Workload;
  readonly ports: ResolvedPorts;
  readonly interception: Pick<Interception, 'has' | 'join' | 'deleting' | 'finished'>;
  /** What can give a sidecar to a pod that has come without one. */
  readonly prepared?: Pick<Preparation, 'admit'>;
  /** A sentence for the user: a new pod that cannot be taken in. */
  readonly warn: (line: string) => void;
  /** When pods that could not be listed are listed again. Default 2 s. */
  readonly retryMilliseconds?: number;
}

/** Changes of pods come in bursts: they are looked at together. Short, since a pod's first caller may come right after its sidecar. */
const SETTLE_MILLISECONDS = 50;
const RETRY_MILLISECONDS = 2_000;

/**
 * Takes pods that come later (a rollout, a scale-up, a replacement) into an interception as soon as their sidecars run: before they are
 * ready, and so before a Service sends anybody there. Pods that are gone leave it by themselves, and those that have ended here; one that is
 * being deleted stays as long as it serves.
 */
export function followPods(options: FollowOptions): Closeable {
  const { cluster, workload, interception, ports, prepared, warn, retryMilliseconds = RETRY_MILLISECONDS } = options;
  const watch = watchPods(cluster, workload);
  /** Uids: a StatefulSet gives its names again. */
  const refused = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  const closing = new AbortController();

  async function look(): Promise<void> {
    timer = undefined;
    const found = await podsOf(cluster, workload, { signal: closing.signal }).catch(() => undefined);
    if (closing.signal.aborted) return;
    if (found === undefined) {
      // The API server is away for a moment, and the pods may not change again.
      timer ??= setTimeout(() => void look(), retryMilliseconds);
      return;
    }
    for (const pod of found) {
      const { name, uid = name } = pod.metadata;
      if (interception.has(pod.metadata) || refused.has(uid)) continue;
      if (sidecarOf(pod) !== undefined) take(pod, uid);
      else if (isReady(pod)) lacking(pod, uid);
    }
  }
  function take(pod: Pod, uid: string): void {
    try {
      const [routes] = resolveRoutes(workload, [pod], ports.mappings).pods;
      if (routes !== undefined) interception.join(routes);
    } catch (error) {
      refused.add(uid);
      warn(`new pod ${pod.metadata.name}: ${messageOf(error)}`);
    }
  }
  function lacking(pod: Pod, uid: string): void {
    refused.add(uid);
    if (prepared?.admit !== undefined) void admit(pod, uid, async () => await prepared.admit?.(pod, { signal: closing.signal }));
    else warn(`new pod ${pod.metadata.name} has no running kpeering sidecar: its callers are not intercepted`);
  }
  /** Beside the others: it takes a while. The pod is looked at again when it has its sidecar. */
  async function admit(pod: Pod, uid: string, give: () => Promise<void>): Promise<void> {
    try {
      await give();
    } catch (error) {
      if (!closing.signal.aborted) warn(`new pod ${pod.metadata.name} is not intercepted: ${messageOf(error)}`);
      return;
    }
    refused.delete(uid);
    if (!closing.signal.aborted) timer ??= setTimeout(() => void look(), SETTLE_MILLISECONDS);
  }
  function lookAtEnds(): void {
    for (const pod of watch.pods()) {
      if (isFinished(pod)) interception.finished(pod.metadata);
      else if (pod.metadata.deletionTimestamp !== undefined) interception.deleting(pod.metadata);
    }
  }
  const unsubscribe = watch.onChange(() => {
    lookAtEnds();
    timer ??= setTimeout(() => void look(), SETTLE_MILLISECONDS);
  });
  // Without the right to watch pods there is nothing to follow; the pods of the start stay intercepted.
  watch.synced.catch((error: unknown) => {
    // An intercept that is left before the first list has come misses nothing.
    if (!closing.signal.aborted) warn(`pods that come later are not followed: ${messageOf(error)}`);
  });
  void warnWithoutWatch(options, closing.signal);

  const close = async (): Promise<void> => {
    closing.abort();
    clearTimeout(timer);
    unsubscribe();
    await watch.close();
  };
  return { close, [Symbol.asyncDispose]: close };
}

/** Who may list pods and not watch them has a watch that is tried again for ever, and would not be told. */
async function warnWithoutWatch({ cluster, workload: { namespace }, warn }: FollowOptions, signal: AbortSignal): Promise<void> {
  try {
    if (await cluster.can({ verb: 'watch', resource: 'pods', namespace }, { signal })) return;
    if (!signal.aborted) warn(`pods that come later are not followed: that takes the right to watch pods in namespace ${namespace}`);
  } catch {
    // Not known: whoever may watch needs no word of it, and the API server's own troubles are told elsewhere.
  }
}

interface PodsWatch extends Closeable {
  readonly synced: Promise<void>;
  /** Of pods that are the workload's, and perhaps of others; none where they are known by their Service's endpoints only. */
  pods(): Iterable<Pod>;
  onChange(listener: () => void): () => void;
}

/** Whatever shows that a workload's pods come and go: the pods, or of a Service without a selector its endpoints. */
function watchPods(cluster: Cluster, workload: Workload): PodsWatch {
  const selection = podSelection(workload);
  const pods = selection === undefined ? undefined : cluster.watch(podResource, selection);
  const { namespace, name } = workload;
  const watch = pods ?? cluster.watch<KubeObject>(endpointSlices, { namespace, labelSelector: `${SERVICE_NAME_LABEL}=${name}` });
  return {
    synced: watch.synced,
    pods: () => pods?.items.values() ?? [],
    onChange: (listener) => watch.onChange(listener),
    close: async () => await watch.close(),
    [Symbol.asyncDispose]: async () => await watch.close(),
  };
}
