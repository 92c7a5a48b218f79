import type { Pod } from '../../cluster/resources.ts';
import { rollsByItself } from '../../cluster/rollout-state.ts';
import { workloadLabel } from '../../cluster/workloads.ts';
import { confirm } from '../intercept/preparation.ts';
import { applyChange, whatHappens, whoMayUndo, type RolloutResult } from './apply-change.ts';
import { changeForInjection, isEmpty, type GivenOptions } from './change.ts';
import type { InjectContext } from './context.ts';
import { isByHand, isInjected, notInjected, podsByInjection } from './injected-pods.ts';
import { readNamespace } from './namespace.ts';
import { assertInjectable } from './preflight.ts';
import type { Target } from './targets.ts';

export interface InjectOptions {
  /** Options of the capture, by their names without `kpeering.io/`. */
  readonly options: GivenOptions;
  readonly wait: boolean;
  readonly timeoutMilliseconds: number;
}

/** What became of one workload. */
export interface InjectResult {
  readonly target: Target;
  readonly state:
    | RolloutResult
    /** Nothing was to be done. */
    | 'already'
    /** The sidecar is in its own manifest: nothing was done. */
    | 'in-manifest';
  /** Names of its pods that are as they should be. */
  readonly pods: readonly string[];
  /** Names of those that still have to be replaced. */
  readonly pending: readonly string[];
}

/**
 * Sets the label (and the options) on a workload's pod template, and waits until its pods are made anew, with a sidecar each. Failures: what
 * the injector would leave them alone for (INJECT_…), OPERATOR_MISSING and OPERATOR_SILENT before anything is changed; then those of
 * `waitForRollout`, and NOT_INJECTED when pods have come without a sidecar all the same.
 */
export async function injectWorkload(context: InjectContext, target: Target, options: InjectOptions): Promise<InjectResult> {
  const { cluster, terminal, signal } = context;
  const abort = signal === undefined ? {} : { signal };
  const { template } = target.object.spec;
  if (isByHand(template)) {
    return { target, state: 'in-manifest', pods: [], pending: [] };
  }
  const change = changeForInjection(template, options.options);
  const { all, others } = await podsByInjection(cluster, target, abort);
  if (isEmpty(change) && others.length === 0) return { target, state: 'already', pods: namesOf(all), pending: [] };
  const namespace = await readNamespace(cluster, target.namespace, abort);
  await assertInjectable(cluster, target, { namespace, change, ...abort });
  const replaced = isEmpty(change) ? others : all;
  const question = whatHappens(target, replaced);
  if (question !== undefined) await confirm(context, question);
  const undoer = isEmpty(change) ? undefined : whoMayUndo(target);
  if (undoer !== undefined) terminal.warn(`${workloadLabel(target.workload)}: the label may be taken away again by ${undoer}`);
  const state = await applyChange(context, target, change, { ...options, pods: replaced });
  return await checked(context, target, state, replaced);
}

/** The result as the pods show it. Pods that were there before and still are have to be replaced; new ones must have a sidecar. */
async function checked(
  { cluster, signal }: InjectContext,
  target: Target,
  state: RolloutResult,
  replaced: readonly Pod[],
): Promise<InjectResult> {
  const abort = signal === undefined ? {} : { signal };
  const { all } = await podsByInjection(cluster, target, abort);
  const before = new Set(replaced.map(({ metadata }) => metadata.uid));
  const old = all.filter(({ metadata }) => before.has(metadata.uid));
  const fresh = all.filter(({ metadata }) => !before.has(metadata.uid));
  const without = fresh.filter((pod) => !isInjected(pod));
  // Those of a rollout that is not waited for may be of the old template.
  if (state === 'done' && without.length > 0) throw await notInjected(cluster, target, without, abort);
  return { target, state, pods: namesOf(fresh.filter((pod) => isInjected(pod))), pending: namesOf([...old, ...without]) };
}

export function namesOf(pods: readonly Pod[]): readonly string[] {
  return pods.map(({ metadata }) => metadata.name);
}

/** How its pods come to follow the template, where that is by hand. */
export function howToReplace({ type, namespace, object }: Target): string {
  const what = type === 'replicaset' ? 'a ReplicaSet' : 'its update strategy is OnDelete, so it';
  return rollsByItself(type, object)
    ? 'they follow by themselves'
    : `${what} leaves its pods as they are: delete them when it suits, one by one: kubectl -n ${namespace} delete pod NAME`;
}
