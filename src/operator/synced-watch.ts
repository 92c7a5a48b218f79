import type { Cluster, KubeObject, Resource, Watch } from '../cluster/types.ts';
import type { AbortOptions } from '../platform/abort.ts';

export interface SyncedWatchOptions extends AbortOptions {
  readonly namespace?: string;
  readonly fieldSelector?: string;
}

/** A watch with its first complete list. `signal` ends the waiting for that only, not the watch. Failures: those of a list. */
export async function syncedWatch<T extends KubeObject>(
  cluster: Pick<Cluster, 'watch'>,
  resource: Resource<T>,
  { signal, ...options }: SyncedWatchOptions = {},
): Promise<Watch<T>> {
  signal?.throwIfAborted();
  const watch = cluster.watch(resource, options);
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([watch.synced, aborted.promise]);
    return watch;
  } catch (error) {
    await watch.close();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}
