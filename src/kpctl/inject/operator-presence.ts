import type { Cluster } from '../../cluster/types.ts';
import { mutatingWebhookConfigurations } from '../../cluster/webhooks.ts';
import { WEBHOOK_CONFIGURATION } from '../../operator/names.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';

/**
 * Whether kpeering's webhook is installed. `unknown`: the user may not ask. Webhooks belong to the whole cluster, and rights in one namespace
 * are all that a developer needs.
 */
export async function operatorInstalled(cluster: Cluster, options: AbortOptions = {}): Promise<boolean | 'unknown'> {
  try {
    await cluster.get(mutatingWebhookConfigurations, WEBHOOK_CONFIGURATION, options);
    return true;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.code === 'NOT_FOUND') return false;
    if (error.code === 'API_FORBIDDEN') return 'unknown';
    throw error;
  }
}

/** Throws a Failure OPERATOR_MISSING where it is known that there is none. */
export async function assertOperator(cluster: Cluster, options: AbortOptions = {}): Promise<void> {
  if ((await operatorInstalled(cluster, options)) === false) throw operatorMissing();
}

export function operatorMissing(): Failure {
  return new Failure('OPERATOR_MISSING', 'kpeering is not installed in this cluster: nobody would inject the pods', {
    remedy: 'run "kpctl install" (or ask who may), or kpctl intercept with --ephemeral',
  });
}
