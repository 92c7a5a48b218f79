import { pods as podResource, type Pod } from '../../cluster/resources.ts';
import { rolloutState } from '../../cluster/rollout-state.ts';
import { templatedResources, type Templated } from '../../cluster/templates.ts';
import type { Cluster, KubeObject, Watch } from '../../cluster/types.ts';
import { isAlive, isReady, podSelection, workloadLabel } from '../../cluster/workloads.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { Progress } from '../terminal-progress.ts';
import type { Terminal } from '../terminal.ts';
import { failedCreation, stuckReason } from './stuck.ts';
import type { Target } from './targets.ts';

export interface RolloutOptions extends AbortOptions {
  readonly terminal: Pick<Terminal, 'progress' | 'live'>;
  readonly timeoutMilliseconds: number;
  /** The uids of the pods that were there before the change: what is wrong with those is not the rollout's doing. */
  readonly before?: ReadonlySet<string>;
}

/** How often a controller's Events are read while its pods do not come. */
const EVENTS_MILLISECONDS = 5_000;

/**
 * Waits until every pod of a workload is of its template as it is now, and says meanwhile how far that is, and what keeps it. Answers the
 * workload as it is then; a paused Deployment, and one whose pods are replaced by hand, is answered at once. Failures: ROLLOUT_FAILED (its
 * controller has given up), ROLLOUT_TIMEOUT, WORKLOAD_NOT_FOUND (it was deleted).
 */
export async function waitForRollout(cluster: Cluster, target: Target, options: RolloutOptions): Promise<Templated> {
  const { terminal, timeoutMilliseconds, before = new Set<string>(), signal } = options;
  const { type, name, namespace, workload } = target;
  const label = workloadLabel(workload);
  const over = deadline(timeoutMilliseconds, signal);
  using progress = new Progress(terminal, `waiting for ${label}`);
  const abort = signal === undefined ? {} : { signal };
  await using watch = cluster.watch(templatedResources[type], { namespace, fieldSelector: `metadata.name=${name}`, ...abort });
  await using podWatch = cluster.watch(podResource, { ...(podSelection(workload) ?? { namespace }), ...abort });
  await Promise.all([watch.synced, podWatch.synced]);
  using changes = new Changes(watch, podWatch);
  let events: string | undefined;
  for (let eventsAt = performance.now() + EVENTS_MILLISECONDS; ;) {
    const object = watch.items.get(`${namespace}/${name}`);
    if (object === undefined) throw new Failure('WORKLOAD_NOT_FOUND', `${label} was deleted while its rollout was waited for`);
    const state = rolloutState(type, object, target.object);
    if (state.kind === 'done') {
      progress.done(`${label}: ${state.text}`);
      return object;
    }
    if (state.kind === 'paused' || state.kind === 'by-hand') return object;
    const ownReason = stuckReason(object, comingPods([...podWatch.items.values()], before), state.kind === 'failed' || over.aborted);
    if (ownReason === undefined && performance.now() >= eventsAt) {
      events = await failedCreation(cluster, object, abort);
      eventsAt = performance.now() + EVENTS_MILLISECONDS;
    }
    const reason = ownReason ?? events;
    if (state.kind === 'failed') throw failed('ROLLOUT_FAILED', `the rollout of ${label} has failed`, target, reason ?? state.text);
    progress.update(`waiting for ${label}: ${state.text}${reason === undefined ? '' : `; ${reason}`}`);
    if (over.aborted) {
      signal?.throwIfAborted();
      const waited = `after ${Math.round(timeoutMilliseconds / 1000)} s: ${state.text}`;
      throw failed('ROLLOUT_TIMEOUT', `the rollout of ${label} is not over ${waited}`, target, reason);
    }
    await changes.next(over, EVENTS_MILLISECONDS);
  }
}

/** Those of the rollout that are not up yet. */
function comingPods(pods: readonly Pod[], before: ReadonlySet<string>): readonly Pod[] {
  return pods.filter((pod) => isAlive(pod) && !isReady(pod) && !before.has(pod.metadata.uid ?? ''));
}

function failed(code: string, what: string, { type, workload, object }: Target, reason: string | undefined): Failure {
  const label = workloadLabel(workload);
  // A StatefulSet waits for its pods one by one, for ever, also when its template has been mended since.
  const alsoByHand =
    type === 'statefulset' ? ', then delete the pod that does not come up: a StatefulSet does not replace it by itself' : '';
  const { namespace = '' } = object.metadata;
  return new Failure(code, what, {
    ...(reason !== undefined && { likely: reason }),
    remedy: `the old pods that are left go on; see "kubectl -n ${namespace} describe ${label}", go back with "kpctl eject ${label}"${alsoByHand}`,
  });
}

/** Waits for changes of several watches; one that comes while nobody waits ends the next wait at once. */
export class Changes implements Disposable {
  readonly #unsubscribe: readonly (() => void)[];
  #changed = Promise.withResolvers<void>();

  constructor(...watches: readonly Pick<Watch<KubeObject>, 'onChange'>[]) {
    this.#unsubscribe = watches.map((watch) => watch.onChange(() => this.#changed.resolve()));
  }

  /** Resolves with the next change, or when `signal` aborts, or after `milliseconds`. */
  async next(signal: AbortSignal, milliseconds: number): Promise<void> {
    const wake = (): void => this.#changed.resolve();
    const timer = setTimeout(wake, milliseconds);
    signal.addEventListener('abort', wake, { once: true });
    try {
      if (!signal.aborted) await this.#changed.promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', wake);
      this.#changed = Promise.withResolvers();
    }
  }

  [Symbol.dispose](): void {
    for (const end of this.#unsubscribe) end();
  }
}
