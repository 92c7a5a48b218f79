import { declaredSidecarOf, isReady, podsOf, workloadLabel } from '../../cluster/workloads.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import { prepareEphemeral } from '../ephemeral/index.ts';
import { prepareInjection } from '../inject/prepare-injection.ts';
import { operatorInstalled } from '../inject/operator-presence.ts';
import type { SidecarOptions } from '../options.ts';
import { prepareReplace } from '../replace/index.ts';
import { nothingPrepared, type Preparation, type PreparationContext } from './preparation.ts';

/**
 * Sees to it that a workload's pods have a sidecar: by the options, else by what the user chooses at the terminal. Close the answer
 * when the intercept has ended. Pods that have a sidecar are left as they are; so is a workload without ready pods, of which
 * `attachablePods` tells. Failures: SIDECAR_MISSING, USAGE, DECLINED, CONFIRMATION_REQUIRED, and those of what is done.
 */
export async function prepare(context: PreparationContext, options: SidecarOptions): Promise<Preparation> {
  const { inject = false, ephemeral = false, replace, image } = options;
  if (ephemeral && (inject || replace !== undefined)) {
    throw new Failure('USAGE', `--ephemeral and ${inject ? '--inject' : '--replace'} exclude each other`, {
      remedy: '--ephemeral is without any restart, the other one restarts the pods: choose one',
      exitCode: ExitCode.usage,
    });
  }
  if (image !== undefined && !ephemeral) {
    throw new Failure('USAGE', '--image is of the ephemeral container: it needs --ephemeral', { exitCode: ExitCode.usage });
  }
  // Its change of the template asks for injection too: the pods are restarted once for both.
  if (replace !== undefined) return await prepareReplace(context, replace === true ? undefined : replace);
  // Also when no pod lacks one now: pods that come later will.
  if (ephemeral) return await prepareEphemeral(context);
  // A Job and a Pod cannot be injected, and may have been at their admission.
  const fixed = context.workload.type === 'job' || context.workload.type === 'pod';
  if (inject && !(fixed && !(await lacksSidecar(context)))) return await prepareInjection(context);
  return (await lacksSidecar(context)) ? await offer(context) : nothingPrepared;
}

async function lacksSidecar({ cluster, workload, signal }: PreparationContext): Promise<boolean> {
  const pods = await podsOf(cluster, workload, signal === undefined ? {} : { signal });
  return pods.some((pod) => isReady(pod) && declaredSidecarOf(pod) === undefined);
}

/** Asks which way the sidecar shall come; where nobody can be asked, the ways are said. */
async function offer(context: PreparationContext): Promise<Preparation> {
  const { questions, cluster, workload, terminal, signal } = context;
  const abort = signal === undefined ? {} : { signal };
  const label = workloadLabel(workload);
  const missing = `${label} in namespace ${workload.namespace} has pods without a kpeering sidecar`;
  if (!questions.interactive) {
    const nobodyInjects = (await operatorInstalled(cluster, abort)) === false;
    throw new Failure('SIDECAR_MISSING', missing, {
      ...(nobodyInjects && { likely: 'kpeering is not installed in this cluster' }),
      remedy: nobodyInjects
        ? `run "kpctl install" (or ask who may), then "kpctl inject ${label}"; or give --ephemeral, which needs neither`
        : `run "kpctl inject ${label}", or give --inject --yes (both restart its pods), or --ephemeral (without a restart)`,
    });
  }
  terminal.progress(missing);
  terminal.progress('  i  inject it: the pods are restarted, by their own rules for an update, and stay injected (kpctl eject undoes it)');
  terminal.progress('  e  add it to the running pods as an ephemeral container: without a restart');
  const answer = (await questions.ask('Which one? [i/e/N] ', abort)).toLowerCase();
  if (answer === 'e' || answer === 'ephemeral') return await prepareEphemeral(context);
  if (answer === 'i' || answer === 'inject') return await prepareInjection(context);
  throw new Failure('SIDECAR_MISSING', missing, { remedy: 'nothing was changed; --inject and --ephemeral choose without the question' });
}
