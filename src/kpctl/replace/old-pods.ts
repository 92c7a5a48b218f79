import { pods as podResource } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { podSelection, workloadLabel, type Workload } from '../../cluster/workloads.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { Progress } from '../terminal-progress.ts';
import type { Terminal } from '../terminal.ts';

/** Longer than Kubernetes' usual 30 s for a pod's end. */
const PATIENCE_MILLISECONDS = 90_000;

export interface OldPodsOptions extends AbortOptions {
  readonly cluster: Cluster;
  readonly workload: Workload;
  /** The uids of the pods that are to end. */
  readonly uids: ReadonlySet<string>;
  readonly terminal: Terminal;
}

/**
 * Waits until pods are gone, and not only being deleted: a rollout is over while the last of the old ones still works off what it has. After a
 * minute and a half that is said, and waited for no longer.
 */
export async function oldPodsGone({ cluster, workload, uids, terminal, signal }: OldPodsOptions): Promise<void> {
  const over = deadline(PATIENCE_MILLISECONDS, signal);
  const label = workloadLabel(workload);
  await using watch = cluster.watch(podResource, { ...podSelection(workload), namespace: workload.namespace });
  await watch.synced;
  const left = (): readonly string[] =>
    [...watch.items.values()].filter(({ metadata }) => uids.has(metadata.uid ?? '')).map(({ metadata }) => metadata.name);
  using progress = new Progress(terminal, `waiting for the last original pods of ${label} to end`);
  const gone = Promise.withResolvers<void>();
  const look = (): void => {
    const names = left();
    if (names.length === 0 || over.aborted) gone.resolve();
    else progress.update(`waiting for ${names.join(', ')} of ${label} to end`);
  };
  const unsubscribe = watch.onChange(look);
  over.addEventListener('abort', look, { once: true });
  try {
    look();
    await gone.promise;
  } finally {
    unsubscribe();
    over.removeEventListener('abort', look);
  }
  signal?.throwIfAborted();
  const names = left();
  if (names.length > 0) terminal.warn(`${names.join(', ')} of ${label} still end: until then the original container works, too`);
}
