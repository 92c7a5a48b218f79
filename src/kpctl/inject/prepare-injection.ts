import { workloadLabel } from '../../cluster/workloads.ts';
import { Failure } from '../../platform/errors.ts';
import { nothingPrepared, type Preparation, type PreparationContext } from '../intercept/preparation.ts';
import { DEFAULT_TIMEOUT_MILLISECONDS } from './context.ts';
import { howToReplace, injectWorkload, type InjectResult } from './inject.ts';
import { injectionTargets } from './targets.ts';

/**
 * `--inject` of `intercept` and `run`: injects the workload's pods, where they are not injected yet, and asks before it restarts them. They
 * stay injected. Failures: those of `injectWorkload`, and INJECT_PENDING where the pods do not follow by themselves.
 */
export async function prepareInjection(context: PreparationContext): Promise<Preparation> {
  const { cluster, workload, signal } = context;
  const targets = await injectionTargets(cluster, workload, signal === undefined ? {} : { signal });
  for (const target of targets) {
    const options = { options: {}, wait: true, timeoutMilliseconds: DEFAULT_TIMEOUT_MILLISECONDS };
    assertFollowed(await injectWorkload(context, target, options));
  }
  return nothingPrepared;
}

function assertFollowed({ target, state, pods, pending }: InjectResult): void {
  const label = workloadLabel(target.workload);
  if (state === 'paused') {
    throw new Failure('INJECT_PENDING', `${label} has the label now, and its rollout is paused`, {
      remedy: `resume it ("kubectl -n ${target.namespace} rollout resume ${label}"), and intercept it then`,
    });
  }
  if (state === 'by-hand' && (pods.length === 0 || pending.length > 0)) {
    throw new Failure('INJECT_PENDING', `${label} has the label now; still to be replaced: ${pending.join(', ') || 'nothing'}`, {
      remedy: `${howToReplace(target)}; then intercept it`,
    });
  }
}
