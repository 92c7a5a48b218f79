import type { Cluster } from '../../cluster/types.ts';
import { workloadLabel } from '../../cluster/workloads.ts';
import { decideInjection, type InjectionSettings, type PodNamespace } from '../../operator/injection/index.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { changed, type TemplateChange } from './change.ts';
import type { Target } from './targets.ts';
import { tryAdmission } from './try-admission.ts';

/** The first Kubernetes in which an init container may go on running beside the others: 1.29. */
const NATIVE_SIDECARS = { major: 1, minor: 29 };

export interface PreflightOptions extends AbortOptions {
  /** Undefined: the user may not read it. */
  readonly namespace: PodNamespace | undefined;
  readonly change: TemplateChange;
}

/**
 * Throws what the injector would leave a target's pods alone for, before anything is changed: first by the template and what is known of its
 * namespace, by the injector's own rules; then, where the user may create pods, by asking the API server what it would make of such a pod. What
 * may not be asked refuses nothing: the result tells (`assertInjected`). Failures: INJECT_…, OPERATOR_MISSING, OPERATOR_SILENT.
 */
export async function assertInjectable(cluster: Cluster, target: Target, options: PreflightOptions): Promise<void> {
  const { namespace = { name: target.namespace, labels: {}, annotations: {} }, change, signal } = options;
  const abort = signal === undefined ? {} : { signal };
  const pod = changed(target.object.spec.template, change);
  const injection = decideInjection({ pod, namespace, settings: await knownSettings(cluster, abort) });
  if (injection.kind === 'left-alone') throw ofTarget(target, injection.reason);
  const tried = await tryAdmission(cluster, target, pod, abort);
  if (tried !== undefined) throw ofTarget(target, tried);
}

/** What decides of the operator's settings, as far as it can be known here: another namespace of its own than the usual is not. */
async function knownSettings(cluster: Cluster, options: AbortOptions): Promise<InjectionSettings> {
  const { major, minor } = await cluster.version(options);
  const nativeSidecars = major > NATIVE_SIDECARS.major || (major === NATIVE_SIDECARS.major && minor >= NATIVE_SIDECARS.minor);
  return {
    images: { init: '', sidecar: '' },
    pullPolicy: 'IfNotPresent',
    nativeSidecars,
    excludedNamespaces: ['kube-system', 'kpeering-system'],
    defaults: {},
  };
}

function ofTarget({ workload }: Target, reason: Failure): Failure {
  return new Failure(reason.code, `${workloadLabel(workload)} would not be injected: ${reason.message}`, {
    ...(reason.likely !== undefined && { likely: reason.likely }),
    ...(reason.remedy !== undefined && { remedy: reason.remedy }),
    exitCode: reason.exitCode,
    cause: reason,
  });
}
