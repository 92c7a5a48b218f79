import { pods as podResource, type Pod } from '../../cluster/resources.ts';
import type { Cluster, Watch } from '../../cluster/types.ts';
import { isAlive } from '../../cluster/workloads.ts';
import type { LinkedPod } from '../links/pod-link.ts';
import type { ExitPods } from './exit.ts';
import { chooseReady, findGateway, GATEWAY_SELECTOR } from './gateway.ts';
import { podKey, type ChooseOptions } from './shunned-pods.ts';

/**
 * The gateway's replicas. The first one is looked for by a list, which is what a start can wait for; then they are watched, so that one that ends is known at
 * once, and so is its successor. Where the user may list and not watch, each choice is another list.
 */
export class Gateways implements ExitPods {
  readonly #cluster: Cluster;
  readonly #listeners = new Set<() => void>();
  #watch: Watch<Pod> | undefined;
  #namespace: string | undefined;
  #seen: ReadonlyMap<string, Pod> | undefined;
  #closing: Promise<void> | undefined;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** As {@link findGateway}. */
  async choose(options: ChooseOptions): Promise<LinkedPod> {
    const known =
      this.#seen === undefined || this.#namespace === undefined ? undefined : chooseReady(this.#seen.values(), this.#namespace, options);
    // A watch may be behind: where it knows only what is to be avoided, the API is asked.
    if (known !== undefined && options.avoid?.has(podKey(known)) !== true) return known;
    const found = await findGateway(this.#cluster, options);
    this.#follow(found.namespace);
    return found;
  }

  isEnding(pod: LinkedPod): boolean {
    if (this.#seen === undefined || pod.namespace !== this.#namespace) return false;
    const seen = this.#seen.get(podKey(pod));
    return seen === undefined || !isAlive(seen);
  }

  onChange(listener: () => void): () => void {
    const own = (): void => listener();
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#watch?.close() ?? Promise.resolve());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #follow(namespace: string): void {
    if (namespace === this.#namespace || this.#closing !== undefined) return;
    void this.#watch?.close();
    this.#seen = undefined;
    this.#namespace = namespace;
    const watch = this.#cluster.watch(podResource, { namespace, labelSelector: GATEWAY_SELECTOR });
    this.#watch = watch;
    watch.onChange(() => {
      if (this.#seen === undefined) return;
      for (const listener of this.#listeners) listener();
    });
    watch.synced.then(
      () => {
        if (watch === this.#watch) this.#seen = watch.items;
        for (const listener of this.#listeners) listener();
      },
      // Lists do as well.
      () => undefined,
    );
  }
}
