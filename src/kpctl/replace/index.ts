import { podsOf, workloadLabel } from '../../cluster/workloads.ts';
import { NOT_INJECTED_ANNOTATION, REPLACED_ANNOTATION, INJECT_LABEL, REPLACE_ANNOTATION } from '../../operator/injection/index.ts';
import { changeWorkload } from '../../operator/replace/restore.ts';
import { replacingChange } from '../../operator/replace/session.ts';
import { Failure } from '../../platform/errors.ts';
import { whoMayUndo } from '../inject/apply-change.ts';
import { readNamespace } from '../inject/namespace.ts';
import { assertOperator } from '../inject/operator-presence.ts';
import { assertInjectable } from '../inject/preflight.ts';
import { waitForRollout } from '../inject/rollout.ts';
import { injectionTargets } from '../inject/targets.ts';
import { confirm, type Preparation, type PreparationContext } from '../intercept/preparation.ts';
import { laptopHello } from '../links/identity.ts';
import { chooseReplaced, refuseWithoutTemplate, replaceableTarget, type ReplaceableTarget } from './choose.ts';
import { assertFree, HeldLease } from './held-lease.ts';
import { oldPodsGone } from './old-pods.ts';
import { Replacement, ROLLOUT_MILLISECONDS } from './replacement.ts';

/**
 * `--replace [CONTAINER]`: has a workload's pods made anew with one of ours in a container's place, and the original put back when the
 * answer is closed; should this process be killed, the operator does that when the session's Lease lapses. Failures: REPLACE_REFUSED,
 * REPLACE_HELD, CONTAINER_REQUIRED, CONTAINER_UNKNOWN, OPERATOR_MISSING, OPERATOR_SILENT, INJECT_…, those of `confirm` and of the rollout;
 * whichever it is, nothing stays changed.
 */
export async function prepareReplace(context: PreparationContext, container: string | undefined): Promise<Preparation> {
  const { cluster, terminal, signal } = context;
  const abort = signal === undefined ? {} : { signal };
  refuseWithoutTemplate(context.workload);
  const target = replaceableTarget(await injectionTargets(cluster, context.workload, abort));
  const replaced = chooseReplaced(target, container);
  await assertOperator(cluster, abort);
  await assertFree(cluster, target, abort);
  await assertReplaceable(context, target, replaced);
  const before = await podsOf(cluster, target.workload, abort);
  const label = workloadLabel(target.workload);
  const count = before.length === 1 ? 'its pod is' : `its ${before.length} pods are`;
  const what = `container ${replaced} of ${label} in namespace ${target.namespace} is replaced by one that only holds its place: ${count} restarted now, and again at the end, when the original comes back`;
  await confirm(context, what);
  if (context.yes) terminal.progress(what);
  const undoer = whoMayUndo(target);
  if (undoer !== undefined) terminal.warn(`${label}: the replacement may be taken back by ${undoer}`);

  const { name: laptop, user } = await laptopHello(cluster, abort);
  const holder = user === undefined ? laptop : `${laptop} (API user "${user}")`;
  const lease = await HeldLease.take({ cluster, target, container: replaced, holder }, abort);
  const replacement = new Replacement(context, target, lease);
  try {
    const uids = new Set(before.map(({ metadata }) => metadata.uid ?? ''));
    await changeWorkload(cluster, target, (object) => replacingChange(object, replaced, lease.name), { fieldManager: 'kpctl', ...abort });
    lease.watchTemplate(true);
    const rollout = signal === undefined ? lease.lost : AbortSignal.any([signal, lease.lost]);
    await waitForRollout(cluster, target, { terminal, timeoutMilliseconds: ROLLOUT_MILLISECONDS, before: uids, signal: rollout });
    await assertReplaced(context, target, replaced);
    await oldPodsGone({ cluster, workload: target.workload, uids, terminal, signal: rollout });
  } catch (error) {
    await replacement.close();
    throw lease.lost.aborted ? lease.lost.reason : error;
  }
  terminal.progress(`container ${replaced} is replaced; run yours with its environment: kpctl run -w ${label} -c ${replaced} -- COMMAND`);
  return replacement;
}

/** Whether the injector would do it; as far as that can be known beforehand. */
async function assertReplaceable(context: PreparationContext, target: ReplaceableTarget, container: string): Promise<void> {
  const { cluster, signal } = context;
  const abort = signal === undefined ? {} : { signal };
  await assertInjectable(cluster, target, {
    namespace: await readNamespace(cluster, target.namespace, abort),
    change: { labels: { [INJECT_LABEL]: 'enabled' }, annotations: { [REPLACE_ANNOTATION]: container } },
    ...abort,
  });
}

/** Whether every pod has the container replaced: the API server starts pods as they are when the operator does not answer. */
async function assertReplaced({ cluster, signal }: PreparationContext, target: ReplaceableTarget, container: string): Promise<void> {
  const pods = await podsOf(cluster, target.workload, signal === undefined ? {} : { signal });
  const originals = pods.filter(({ metadata }) => metadata.annotations[REPLACED_ANNOTATION] !== container);
  if (originals.length === 0) return;
  const said = originals.map(({ metadata }) => metadata.annotations[NOT_INJECTED_ANNOTATION]).find((text) => text !== undefined);
  throw new Failure(
    'REPLACE_FAILED',
    `pods of ${workloadLabel(target.workload)} have come with their original container ${container} all the same: ${originals.map(({ metadata }) => metadata.name).join(', ')}`,
    {
      likely: said ?? "kpeering's operator did not answer the API server, or is older than this kpctl",
      remedy: 'run "kpctl doctor"; what was changed is taken back',
    },
  );
}
