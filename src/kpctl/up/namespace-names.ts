import { namespaces as namespaceResource, type Namespace } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { Failure } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';

/** The names of the cluster's namespaces, as far as they may be seen. */
export interface NamespaceNames extends Closeable {
  readonly now: readonly string[];
  /** Called when one comes or goes; returns the function that unsubscribes. */
  onChange(listener: () => void): () => void;
}

/** Watches them; who may not see them knows only the `own` one. Resolves when the first list is there. */
export async function watchNamespaceNames(cluster: Pick<Cluster, 'watch'>, own: string): Promise<NamespaceNames> {
  const watch = cluster.watch<Namespace>(namespaceResource);
  const close = async (): Promise<void> => await watch.close();
  try {
    await watch.synced;
  } catch (error) {
    await close();
    if (!(error instanceof Failure)) throw error;
    return { now: [own], onChange: () => () => undefined, close, [Symbol.asyncDispose]: close };
  }
  return {
    get now() {
      return [...new Set([own, ...[...watch.items.values()].map(({ metadata }) => metadata.name)])].toSorted();
    },
    onChange: (listener) =>
      watch.onChange((event) => {
        if (event.type === 'deleted' || event.previous === undefined) listener();
      }),
    close,
    [Symbol.asyncDispose]: close,
  };
}
