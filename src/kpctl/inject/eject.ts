import type { Pod } from '../../cluster/resources.ts';
import { workloadLabel } from '../../cluster/workloads.ts';
import { INJECT_LABEL } from '../../operator/injection/index.ts';
import { Failure } from '../../platform/errors.ts';
import { confirm } from '../intercept/preparation.ts';
import { applyChange, whatHappens, whoMayUndo } from './apply-change.ts';
import { changeForEjection, isEmpty } from './change.ts';
import type { InjectContext } from './context.ts';
import { namesOf, type InjectResult } from './inject.ts';
import { isByHand, podsByInjection } from './injected-pods.ts';
import { readNamespace } from './namespace.ts';
import type { Target } from './targets.ts';

export interface EjectOptions {
  readonly wait: boolean;
  readonly timeoutMilliseconds: number;
  /** Nobody injects any more (the webhook is gone): no label that says no is left behind in a namespace that asks for injection. */
  readonly withoutOperator?: boolean;
}

/**
 * Takes the label and the options out of a workload's pod template, and waits until its pods are made anew, without a sidecar. In a namespace
 * whose label asks for injection the template's says `disabled` instead. Failures: EJECT_MANIFEST (the sidecar is in its own manifest),
 * NOT_EJECTED (new pods have one all the same), and those of `waitForRollout`.
 */
export async function ejectWorkload(context: InjectContext, target: Target, options: EjectOptions): Promise<InjectResult> {
  const { cluster, terminal, signal } = context;
  const abort = signal === undefined ? {} : { signal };
  const { template } = target.object.spec;
  if (isByHand(template)) {
    throw new Failure('EJECT_MANIFEST', `the sidecar of ${workloadLabel(target.workload)} is in its own manifest`, {
      remedy: 'take the containers kpeering-init and kpeering, and the volume kpeering, out of it',
    });
  }
  const change = changeForEjection(template, options.withoutOperator !== true && (await namespaceAsks(context, target)));
  const { all, injected } = await podsByInjection(cluster, target, abort);
  if (isEmpty(change) && injected.length === 0) return { target, state: 'already', pods: namesOf(all), pending: [] };
  // Without pods to eject the change is of the label alone; its controller makes them anew all the same.
  const replaced = isEmpty(change) ? injected : all;
  const question = whatHappens(target, replaced);
  if (question !== undefined) await confirm(context, question);
  const undoer = isEmpty(change) ? undefined : whoMayUndo(target);
  if (undoer !== undefined) terminal.warn(`${workloadLabel(target.workload)}: the label may be put back by ${undoer}`);
  const state = await applyChange(context, target, change, { ...options, pods: replaced });
  const after = await podsByInjection(cluster, target, abort);
  if (state === 'done') assertEjected(target, after.injected, replaced);
  return { target, state, pods: namesOf(after.others), pending: namesOf(after.injected) };
}

/** True also where it may not be read: a label that says no does no harm. */
async function namespaceAsks({ cluster, signal }: InjectContext, { namespace, object }: Target): Promise<boolean> {
  const read = await readNamespace(cluster, namespace, signal === undefined ? {} : { signal });
  if (read !== undefined) return read.labels[INJECT_LABEL] === 'enabled';
  // A template that asks by itself needed no namespace that does.
  return object.spec.template.metadata.labels[INJECT_LABEL] !== 'enabled';
}

function assertEjected({ workload }: Target, injected: readonly Pod[], replaced: readonly Pod[]): void {
  const before = new Set(replaced.map(({ metadata }) => metadata.uid));
  const fresh = injected.filter(({ metadata }) => !before.has(metadata.uid));
  if (fresh.length === 0) return;
  throw new Failure('NOT_EJECTED', `${workloadLabel(workload)} has new pods with a sidecar (${namesOf(fresh).join(', ')})`, {
    likely: `its namespace has the label ${INJECT_LABEL}: enabled, or something puts the label of its template back`,
    remedy: `set the label ${INJECT_LABEL}: disabled on its pod template`,
  });
}
