import type { Cluster } from '../../cluster/types.ts';
import { findWorkload, parseWorkload, podsOf, type Workload } from '../../cluster/workloads.ts';
import { isAlive } from '../../cluster/workload-pods.ts';
import { pods as podResource, type Pod } from '../../cluster/resources.ts';
import type { PodNamespace } from '../../operator/injection/index.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import type { Closeable } from '../../platform/owned.ts';
import { readNamespace } from '../inject/namespace.ts';
import { NOT_REACHED, unknown, type Seen } from './finding.ts';
import { findInstallation, type Installation } from './installation.ts';
import type { Check } from './run-checks.ts';
import { askSidecars, type SidecarAnswers } from './sidecars.ts';

export interface ExaminationOptions extends AbortOptions {
  /** Reads the kubeconfig. */
  readonly open: () => Promise<Cluster>;
  /** `NAME` or `TYPE/NAME`; undefined: all of the namespace. */
  readonly workload: string | undefined;
  /** How long the API server may take for its first answer, and then for each thing that several checks need. */
  readonly milliseconds: { readonly api: number; readonly lookup: number };
}

/** An API server that has answered. */
export interface Reached {
  readonly cluster: Cluster;
  readonly version: { readonly major: number; readonly minor: number; readonly text: string };
  /** The API server's name of the user. */
  readonly user: string | undefined;
  /** How long the first answer took, TLS included. */
  readonly milliseconds: number;
}

/** What several checks look at, each thing asked for once, when the first check needs it. */
export class Examination implements Closeable {
  readonly workloadName: string | undefined;
  readonly #options: ExaminationOptions;
  readonly #cluster = new Once<Cluster>();
  readonly #reached = new Once<Reached>();
  readonly #installation = new Once<Installation>();
  readonly #namespace = new Once<PodNamespace | undefined>();
  readonly #workload = new Once<Workload>();
  readonly #pods = new Once<readonly Pod[]>();
  readonly #sidecars = new Once<SidecarAnswers>();
  #closed: Promise<void> | undefined;

  constructor(options: ExaminationOptions) {
    this.#options = options;
    this.workloadName = options.workload;
  }

  /** The cluster that the kubeconfig names; nobody has spoken to it yet. Rejects with the Failures of reading a kubeconfig. */
  async cluster(): Promise<Cluster> {
    return await this.#cluster.get(() => this.#options.open());
  }

  /** The same once its API server has answered; rejects with why it has not. */
  async reached(): Promise<Reached> {
    return await this.#reached.get(async () => {
      const cluster = await this.cluster();
      const options = { signal: deadline(this.#options.milliseconds.api, this.#options.signal) };
      const before = performance.now();
      const version = await inTime(cluster.version(options), options.signal);
      const milliseconds = performance.now() - before;
      const user = await inTime(cluster.whoAmI(options), options.signal);
      return { cluster, version, user, milliseconds };
    });
  }

  async installation(): Promise<Installation> {
    return await this.#ofCluster(this.#installation, findInstallation);
  }

  /** What the namespace says to injection; undefined where the user may not read it. */
  async namespace(): Promise<PodNamespace | undefined> {
    return await this.#ofCluster(this.#namespace, async (cluster, options) => await readNamespace(cluster, cluster.namespace, options));
  }

  async workload(): Promise<Workload | undefined> {
    const { workloadName } = this;
    if (workloadName === undefined) return undefined;
    return await this.#ofCluster(
      this.#workload,
      async (cluster, options) => await findWorkload(cluster, parseWorkload(workloadName), options),
    );
  }

  /** The pods of the workload, else of the namespace, that are alive. */
  async pods(): Promise<readonly Pod[]> {
    const workload = await this.workload();
    return await this.#ofCluster(this.#pods, async (cluster, options) => {
      if (workload !== undefined) return await podsOf(cluster, workload, options);
      const all = await cluster.list(podResource, { namespace: cluster.namespace, ...options });
      return all.filter((pod) => isAlive(pod));
    });
  }

  /** What the sidecars of these pods say of themselves. */
  async sidecars(): Promise<SidecarAnswers> {
    const pods = await this.pods();
    return await this.#ofCluster(this.#sidecars, async (cluster, options) => await askSidecars(cluster, pods, options));
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close();
    return await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await (await this.#cluster.made?.catch(() => undefined))?.close();
  }

  async #ofCluster<T>(kept: Once<T>, look: (cluster: Cluster, options: Required<AbortOptions>) => Promise<T>): Promise<T> {
    const { cluster } = await this.reached();
    return await kept.get(() => look(cluster, { signal: deadline(this.#options.milliseconds.lookup, this.#options.signal) }));
  }
}

/** What is made when it is first asked for; whoever asks later gets the same, also where that has failed. */
class Once<T> {
  made: Promise<T> | undefined;

  async get(make: () => Promise<T>): Promise<T> {
    if (this.made === undefined) {
      this.made = make();
      this.made.catch(() => undefined);
    }
    return await this.made;
  }
}

/** For what does not heed its signal, such as a credential plugin that waits for the user. */
async function inTime<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const late = Promise.withResolvers<never>();
  const onAbort = (): void => late.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    return await Promise.race([work, late.promise]);
  } finally {
    late.promise.catch(() => undefined);
    signal.removeEventListener('abort', onAbort);
  }
}

/** A check of what the cluster has: it has answered. */
export function clusterCheck(
  id: string,
  look: (reached: Reached, examination: Examination, options: Required<AbortOptions>) => Promise<readonly Seen[]>,
): Check<Examination> {
  return {
    id,
    look: async (examination, options) => {
      let reached: Reached;
      try {
        reached = await examination.reached();
      } catch {
        return [unknown(NOT_REACHED)];
      }
      return await look(reached, examination, options);
    },
  };
}
