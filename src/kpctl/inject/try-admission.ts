import { randomBytes } from 'node:crypto';
import { pods } from '../../cluster/resources.ts';
import type { Templated } from '../../cluster/templates.ts';
import type { Cluster, Manifest } from '../../cluster/types.ts';
import { INJECTED_LABEL, NOT_INJECTED_ANNOTATION } from '../../operator/injection/index.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { operatorInstalled, operatorMissing } from './operator-presence.ts';
import type { Target } from './targets.ts';

/**
 * Has the API server make a pod of the template as a dry run: through the operator's webhook, Pod Security (its own defaults and exemptions
 * too), LimitRanges and other webhooks, with nothing stored. Answers why its pods would not be injected or not be made; undefined: they
 * would, or it cannot be told (no right to create pods, a webhook that knows no dry runs).
 */
export async function tryAdmission(
  cluster: Cluster,
  target: Target,
  template: Templated['spec']['template'],
  options: AbortOptions,
): Promise<Failure | undefined> {
  const { namespace } = target;
  if (!(await cluster.can({ verb: 'create', resource: 'pods', namespace }, options))) {
    return (await operatorInstalled(cluster, options)) === false ? operatorMissing() : undefined;
  }
  try {
    const made = await cluster.create(pods, podOf(target, template), { namespace, dryRun: true, ...options });
    if (made.metadata.labels[INJECTED_LABEL] === 'true') return undefined;
    const reason = made.metadata.annotations[NOT_INJECTED_ANNOTATION];
    if (reason !== undefined) return new Failure('NOT_INJECTED', `kpeering leaves such a pod alone: ${reason}`);
    return (await operatorInstalled(cluster, options)) === false ? operatorMissing() : operatorSilent();
  } catch (error) {
    if (error instanceof Failure) return ofRefusal(error);
    throw error;
  }
}

export function operatorSilent(): Failure {
  return new Failure('OPERATOR_SILENT', "kpeering's operator does not answer the API server: pods start without a sidecar", {
    likely: 'it does not run, cannot be reached from the API server, or its certificate is not the one that is trusted',
    remedy: 'run "kpctl doctor"; kpctl intercept with --ephemeral works without it',
  });
}

/** What a refused dry run says about the pods of a rollout. */
function ofRefusal(failure: Failure): Failure | undefined {
  const { code, message } = failure;
  const quota = /(exceeded|unknown for) quota/.test(message);
  // A pod more than there are now may be over a quota; a rollout can end one first.
  if ((code !== 'API_FORBIDDEN' && code !== 'API_INVALID') || quota) return undefined;
  if (/cannot create resource/.test(message)) return undefined;
  if (/violates PodSecurity/.test(message)) {
    return new Failure('INJECT_POD_SECURITY', `Pod Security forbids it: ${message}`, {
      remedy: 'use a namespace that enforces privileged, or the gateway: kpctl run without -w',
    });
  }
  return new Failure('INJECT_REFUSED', `the API server would refuse such a pod: ${message}`, {
    likely: 'a LimitRange, or a policy of this cluster',
    remedy: 'set the resources that it asks for (--set cpu-limit=…, memory-limit=…), or ask who made the policy',
  });
}

/** A pod as the target's controller makes it, as far as admission looks at it. */
function podOf({ name, object }: Target, { metadata: { labels, annotations }, spec }: Templated['spec']['template']): Manifest {
  const claims = object.spec.volumeClaimTemplates.map((claim) => ({ name: claim.metadata.name, emptyDir: {} }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `${name.slice(0, 200)}-kpeering-${randomBytes(3).toString('hex')}`, labels, annotations },
    // A StatefulSet's pods have a volume for each of its claim templates.
    spec: { ...spec, volumes: [...spec.volumes, ...claims] },
  };
}
