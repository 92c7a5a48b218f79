import { rolloutState, rollsByItself } from '../../cluster/rollout-state.ts';
import { templatedResources, type Templated } from '../../cluster/templates.ts';
import type { Pod } from '../../cluster/resources.ts';
import { workloadLabel } from '../../cluster/workloads.ts';
import { changeForRestart, isEmpty, patchOf, type TemplateChange } from './change.ts';
import type { InjectContext } from './context.ts';
import { waitForRollout } from './rollout.ts';
import { controllerNamed, type Target } from './targets.ts';

/** What became of a workload whose template was changed. */
export type RolloutResult =
  /** All its pods are of the new template. */
  | 'done'
  /** `--no-wait` */
  | 'not-waited'
  /** It is paused, and follows when it is resumed. */
  | 'paused'
  /** Its pods follow when they are replaced by hand. */
  | 'by-hand';

export interface ApplyOptions {
  readonly wait: boolean;
  readonly timeoutMilliseconds: number;
  /** The pods that are to be replaced. */
  readonly pods: readonly Pod[];
}

/**
 * Changes a workload's template and waits until its pods have followed. An empty change where pods have to be replaced all the same (they are
 * older than the label, or than the operator) restarts them as `kubectl rollout restart` does, unless a rollout is under way.
 */
export async function applyChange(
  { cluster, terminal, signal }: InjectContext,
  target: Target,
  change: TemplateChange,
  options: ApplyOptions,
): Promise<RolloutResult> {
  const { type, name, namespace } = target;
  const abort = signal === undefined ? {} : { signal };
  const whole = isEmpty(change) && options.pods.length > 0 && isOver(target) ? changeForRestart(new Date()) : change;
  if (!isEmpty(whole)) {
    const resource = templatedResources[type];
    await cluster.patch(resource, name, { kind: 'merge', object: patchOf(whole) }, { namespace, ...abort });
  }
  const state = await stateOf(cluster, target, abort);
  if (state === 'paused' || state === 'by-hand') return state;
  if (!options.wait) return 'not-waited';
  const before = new Set(options.pods.map(({ metadata }) => metadata.uid ?? ''));
  try {
    const over = await waitForRollout(cluster, target, { terminal, timeoutMilliseconds: options.timeoutMilliseconds, before, ...abort });
    // Somebody may have paused it meanwhile, or changed its strategy.
    const after = rolloutState(type, over).kind;
    return after === 'paused' || after === 'by-hand' ? after : 'done';
  } catch (error) {
    if (signal?.aborted === true) terminal.warn(`${workloadLabel(target.workload)} has been changed, and its rollout goes on`);
    throw error;
  }
}

async function stateOf(cluster: InjectContext['cluster'], { type, name, namespace }: Target, abort: { readonly signal?: AbortSignal }) {
  return rolloutState(type, await cluster.get(templatedResources[type], name, { namespace, ...abort })).kind;
}

function isOver({ type, object }: Target): boolean {
  return rolloutState(type, object).kind === 'done';
}

/** What a change of the template does to the pods, for the question before it; undefined: to none, now. */
export function whatHappens(target: Target, pods: readonly Pod[]): string | undefined {
  const { type, object, workload } = target;
  if (pods.length === 0 || !rollsByItself(type, object) || object.spec.paused === true) return undefined;
  const count = pods.length === 1 ? 'the pod' : `${pods.length} pods`;
  return `this restarts ${count} of ${workloadLabel(workload)} in namespace ${target.namespace}${manner(type, object)}`;
}

function manner(type: Target['type'], { spec }: Templated): string {
  if (type === 'deployment' && spec.strategy?.type === 'Recreate') return ', all at once (its strategy is Recreate)';
  return ', by its own rules for an update';
}

/** Who may take the change back: what has made the workload, or tools that keep it as it is in a repository. */
export function whoMayUndo({ object: { metadata } }: Target): string | undefined {
  const owner = controllerNamed(metadata);
  if (owner !== undefined) return `${owner.kind} ${owner.name}, which has made it`;
  if (metadata.annotations['argocd.argoproj.io/tracking-id'] !== undefined) return 'Argo CD, which keeps it as its repository has it';
  if (metadata.labels['kustomize.toolkit.fluxcd.io/name'] !== undefined) return 'Flux, which keeps it as its repository has it';
  return undefined;
}
