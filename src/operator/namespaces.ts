import { namespaces, type Namespace } from '../cluster/resources.ts';
import type { Cluster, Watch } from '../cluster/types.ts';
import { deadline, type AbortOptions } from '../platform/abort.ts';
import type { Closeable } from '../platform/owned.ts';
import type { PodNamespace } from './injection/index.ts';
import { syncedWatch } from './synced-watch.ts';

/** Of the five seconds that the API server waits for the webhook. */
const ANSWER_MILLISECONDS = 2_000;

/** The cluster's namespaces, by a watch: a pod's admission asks for one, and must not wait. */
export class NamespaceStore implements Closeable {
  readonly #cluster: Cluster;
  readonly #watch: Watch<Namespace>;

  private constructor(cluster: Cluster, watch: Watch<Namespace>) {
    this.#cluster = cluster;
    this.#watch = watch;
  }

  /** Resolves once all are known. Failures: those of a list. */
  static async open(cluster: Cluster, options: AbortOptions = {}): Promise<NamespaceStore> {
    return new NamespaceStore(cluster, await syncedWatch(cluster, namespaces, options));
  }

  /** As the watch has it; one that it does not have yet (pods are often made together with their namespace) is asked for. Failures: those of a get. */
  async find(name: string): Promise<PodNamespace> {
    const known = this.#watch.items.get(`/${name}`);
    return known === undefined ? await this.ask(name) : describe(known);
  }

  /** As the API server has it now. Failures: those of a get; a TimeoutError after 2 s. */
  async ask(name: string): Promise<PodNamespace> {
    return describe(await this.#cluster.get(namespaces, name, { signal: deadline(ANSWER_MILLISECONDS) }));
  }

  async close(): Promise<void> {
    await this.#watch.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function describe({ metadata: { name, labels, annotations } }: Namespace): PodNamespace {
  return { name, labels, annotations };
}
