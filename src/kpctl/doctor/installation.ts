import { z } from 'zod';
import { podSpecSchema } from '../../cluster/pods.ts';
import { defineResource, metadataSchema, optionalNumber } from '../../cluster/resource.ts';
import type { Cluster } from '../../cluster/types.ts';
import { mutatingWebhookConfigurations, type MutatingWebhookConfiguration } from '../../cluster/webhooks.ts';
import { GATEWAY_NAME, OPERATOR_NAME, PART_OF_LABELS, WEBHOOK_CONFIGURATION } from '../../operator/names.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { isFailure } from './finding.ts';

/** A Deployment as far as it tells whether it is well. */
const installedSchema = z.object({
  metadata: metadataSchema,
  spec: z.object({ replicas: optionalNumber, template: z.object({ spec: podSpecSchema }) }),
  status: z
    .object({ readyReplicas: optionalNumber })
    .nullish()
    .transform((status) => status ?? { readyReplicas: undefined }),
});
export type Installed = z.infer<typeof installedSchema>;
export const installedDeployments = defineResource<Installed>(
  { kind: 'Deployment', plural: 'deployments', group: 'apps', version: 'v1', namespaced: true },
  installedSchema,
);

const DEFAULT_NAMESPACE = 'kpeering-system';

/** What of kpeering the user can see in the cluster. */
export interface Installation {
  /** Where it is, or would be. */
  readonly namespace: string;
  /** `hidden`: the user may not look where it would be. */
  readonly operator: Installed | 'missing' | 'hidden';
  readonly gateway: Installed | 'missing' | 'hidden';
  readonly webhook: MutatingWebhookConfiguration | 'missing' | 'hidden';
}

/** Looks for the operator where the webhook's configuration says, in `kpeering-system`, and then everywhere, as far as the user may. */
export async function findInstallation(cluster: Cluster, options: AbortOptions): Promise<Installation> {
  const webhook = await visible(cluster.get(mutatingWebhookConfigurations, WEBHOOK_CONFIGURATION, options));
  const service = typeof webhook === 'string' ? undefined : webhook.webhooks[0]?.clientConfig.service;
  const named = service?.namespace ?? DEFAULT_NAMESPACE;
  const operator = await visible(cluster.get(installedDeployments, OPERATOR_NAME, { namespace: named, ...options }));
  const elsewhere = typeof operator === 'string' && service === undefined ? await operatorAnywhere(cluster, options) : undefined;
  const namespace = elsewhere?.metadata.namespace ?? named;
  const gateway = await visible(cluster.get(installedDeployments, GATEWAY_NAME, { namespace, ...options }));
  return { namespace, webhook, operator: elsewhere ?? operator, gateway };
}

async function operatorAnywhere(cluster: Cluster, options: AbortOptions): Promise<Installed | undefined> {
  const labelSelector = Object.entries(PART_OF_LABELS)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  const found = await visible(cluster.list(installedDeployments, { labelSelector, ...options }));
  return typeof found === 'string' ? undefined : found.find(({ metadata }) => metadata.name === OPERATOR_NAME);
}

/** What a request answers, or that there is nothing, or that the user may not see it. */
export async function visible<T>(request: Promise<T>): Promise<T | 'missing' | 'hidden'> {
  try {
    return await request;
  } catch (error) {
    if (isFailure(error, 'NOT_FOUND')) return 'missing';
    if (isFailure(error, 'API_FORBIDDEN')) return 'hidden';
    throw error;
  }
}
