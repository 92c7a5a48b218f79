import { ejectWorkload, type EjectOptions } from './eject.ts';
import type { InjectContext } from './context.ts';
import type { InjectResult } from './inject.ts';
import type { InjectedWorkload } from './injected-workloads.ts';
import { changeableTypes, loadTarget } from './targets.ts';

/** How many rollouts are under way at a time. */
const AT_ONCE = 8;

/**
 * Ejects several workloads (`injectedWorkloads`), some at a time. Those that have no template to be changed are passed over: tell of
 * them before. Nothing is asked. The first failure is thrown when the others have ended.
 */
export async function ejectWorkloads(
  context: InjectContext,
  workloads: readonly InjectedWorkload[],
  options: EjectOptions,
): Promise<readonly InjectResult[]> {
  const queue = workloads.flatMap(({ type, ...workload }) => {
    const changeable = changeableTypes.find((known) => known === type);
    return changeable === undefined ? [] : [{ ...workload, type: changeable }];
  });
  const results: InjectResult[] = [];
  // One line is all that the terminal has for progress: each says when it is over.
  const quiet: InjectContext = { ...context, yes: true, terminal: { ...context.terminal, live: () => {}, progress: () => {} } };
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const target = await loadTarget(context.cluster, next, context.signal === undefined ? {} : { signal: context.signal });
      const result = await ejectWorkload(quiet, target, options);
      context.terminal.progress(`ejected ${next.type}/${next.name} in namespace ${next.namespace}`);
      results.push(result);
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
  const failed = ended.find((one) => one.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return results;
}
