import type { Pod } from '../../cluster/resources.ts';
import { EPHEMERAL_PREFIX, declaredSidecarOf, isReady, podsOf, sidecarOf, workloadLabel } from '../../cluster/workloads.ts';
import type { PodNamespace } from '../../operator/injection/index.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { readNamespace } from '../inject/namespace.ts';
import { confirm, type Preparation, type PreparationContext } from '../intercept/preparation.ts';
import { Progress } from '../terminal-progress.ts';
import { addEphemeral, usableEntry } from './add.ts';
import { IDLE_SECONDS, ephemeralContainer, type EphemeralImage } from './container.ts';
import { ephemeralImage } from './image.ts';
import { inspectPod } from './inspect.ts';
import { untilServing } from './wait.ts';

/**
 * `--ephemeral`: gives every ready pod without a sidecar kpeering as an ephemeral container, without a restart, and those that come later, too. What
 * cannot be undone is said before, and asked. One that runs already is used. Failures: INJECT_… of a pod that cannot be captured,
 * API_FORBIDDEN, EPHEMERAL_UNSUPPORTED, EPHEMERAL_IMAGE, EPHEMERAL_NOT_STARTED, CONFIRMATION_REQUIRED, DECLINED.
 */
export async function prepareEphemeral(context: PreparationContext): Promise<Preparation> {
  const { cluster, workload, signal } = context;
  const abort = signal === undefined ? {} : { signal };
  const adding = new Adding(context);
  const lacking = (await podsOf(cluster, workload, abort)).filter((pod) => isReady(pod) && declaredSidecarOf(pod) === undefined);
  await adding.toPods(lacking, abort);
  return {
    admit: async (pod, options = {}) => await adding.toNewPod(pod, options),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}

interface Means {
  readonly image: EphemeralImage;
  readonly namespace: PodNamespace | undefined;
}

class Adding {
  readonly #context: PreparationContext;
  #means: Promise<Means> | undefined;

  constructor(context: PreparationContext) {
    this.#context = context;
  }

  async toPods(pods: readonly Pod[], options: AbortOptions): Promise<void> {
    if (pods.length === 0) return;
    const { cluster, workload, terminal } = this.#context;
    const added = pods.filter((pod) => usableEntry(pod) === undefined);
    const { image } = await this.#find(options);
    if (added.length > 0) {
      const warnings = await Promise.all(added.map(async (pod) => this.#inspect(pod, options)));
      const what = `adds an ephemeral container to ${added.length} running ${added.length === 1 ? 'pod' : 'pods'} of ${workloadLabel(workload)}`;
      terminal.progress(
        `this ${what} (${image.image}). It cannot be removed: its entry stays in the pod until that is replaced. Unused it has no rules, and ends after ${IDLE_SECONDS / 60} minutes`,
      );
      for (const warning of new Set(warnings.flat())) terminal.warn(warning);
      await confirm(this.#context, `this ${what}`);
    }
    using progress = new Progress(terminal, `waiting for kpeering in ${pods.map(({ metadata }) => metadata.name).join(', ')}`);
    await Promise.all(pods.map(async (pod) => untilServing(cluster, pod, await addEphemeral(cluster, pod, image, options), options)));
    progress.done();
  }

  /** Of a scale-up or a rollout: the user has agreed for the workload. */
  async toNewPod(pod: Pod, options: AbortOptions): Promise<void> {
    const { cluster, terminal } = this.#context;
    if (declaredSidecarOf(pod) !== undefined && sidecarOf(pod) === undefined) {
      throw new Failure('SIDECAR_NOT_RUNNING', `the sidecar of pod ${pod.metadata.name} does not run now`);
    }
    const { image } = await this.#find(options);
    await this.#inspect(pod, options);
    const entry = await addEphemeral(cluster, pod, image, options);
    terminal.progress(`pod ${pod.metadata.name} is new: it gets the ephemeral container ${entry}`);
    await untilServing(cluster, pod, entry, options);
  }

  async #inspect(pod: Pod, options: AbortOptions): Promise<readonly string[]> {
    const { cluster, workload, ports } = this.#context;
    const { image, namespace } = await this.#find(options);
    const container = ephemeralContainer(`${EPHEMERAL_PREFIX}1`, image);
    return await inspectPod(cluster, pod, { workload, ports, namespace, container }, options);
  }

  async #find(options: AbortOptions): Promise<Means> {
    const { cluster, workload, image } = this.#context;
    const means = (this.#means ??= Promise.all([
      ephemeralImage(cluster, image, options),
      readNamespace(cluster, workload.namespace, options),
    ]).then(([found, namespace]) => ({ image: found, namespace })));
    try {
      return await means;
    } catch (error) {
      if (this.#means === means) this.#means = undefined;
      throw error;
    }
  }
}
