import { pods as podResource } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { dialsForLaptops, isReady, sidecarOf } from '../../cluster/workloads.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { OwnedStack, type Closeable } from '../../platform/owned.ts';
import { newSessionId, type LocalHello } from '../../tunnel/index.ts';
import { PodLink, type LinkedPod } from '../links/pod-link.ts';
import { findGateway } from '../exit/gateway.ts';
import { apiServerProber, podProber, type Prober } from './prober.ts';

/** How long to look for a pod to connect from, and to connect to it. */
const FIND_MILLISECONDS = 2_000;

/**
 * What can connect to pods from outside of them, the best first: other pods of the workload, whose tunnels are up already; another pod
 * of the namespace with a running sidecar, or the gateway; the API server. What needs a connection of its own is connected to when
 * somebody gets that far, once for all.
 */
export class Probers implements Closeable {
  readonly #cluster: Cluster;
  readonly #hello: LocalHello;
  readonly #links: readonly PodLink[];
  readonly #options: AbortOptions;
  readonly #stack = new OwnedStack();
  #other: Promise<Prober | undefined> | undefined;

  constructor(cluster: Cluster, hello: LocalHello, links: readonly PodLink[], options: AbortOptions) {
    this.#cluster = cluster;
    this.#hello = hello;
    this.#links = links;
    this.#options = options;
  }

  /** For a pod: it does not prove itself. */
  async *for(pod: LinkedPod): AsyncGenerator<Prober> {
    for (const link of this.#links) {
      const { state } = link;
      if (link.pod.name !== pod.name && state.kind === 'up') yield podProber(`pod ${link.pod.name}`, link.pod, state.session);
    }
    const other = await (this.#other ??= this.#connectOther());
    if (other !== undefined) yield other;
    yield apiServerProber(this.#cluster);
  }

  async close(): Promise<void> {
    await this.#stack.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Undefined: there is none, or it cannot be reached in time. */
  async #connectOther(): Promise<Prober | undefined> {
    const options = { signal: deadline(FIND_MILLISECONDS, this.#options.signal) };
    const pod = (await this.#otherPod(options)) ?? (await findGateway(this.#cluster, options).catch(() => undefined));
    if (pod === undefined) return undefined;
    const link = this.#stack.use(
      new PodLink({
        cluster: this.#cluster,
        pod,
        hello: { ...this.#hello, id: newSessionId() },
        onIncoming: (stream) => stream.refuse('denied', 'this session claims nothing'),
        onEvent: () => undefined,
      }),
    );
    try {
      await link.connect(options);
      return link.state.kind === 'up' ? podProber(`pod ${pod.name}`, pod, link.state.session) : undefined;
    } catch {
      return undefined; // no right, or it is about to end: the next one may do
    }
  }

  async #otherPod(options: AbortOptions): Promise<LinkedPod | undefined> {
    const namespace = this.#links[0]?.pod.namespace;
    if (namespace === undefined) return undefined;
    const names = new Set(this.#links.map(({ pod }) => pod.name));
    const found = await this.#cluster.list(podResource, { namespace, ...options }).catch(() => []);
    const usable = found.find(
      (pod) => !names.has(pod.metadata.name) && isReady(pod) && sidecarOf(pod) !== undefined && dialsForLaptops(pod),
    );
    return usable === undefined ? undefined : { namespace, name: usable.metadata.name };
  }
}
