import { pods } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { mutatingWebhookConfigurations } from '../../cluster/webhooks.ts';
import { INJECT_LABEL, INJECTED_LABEL, NOT_INJECTED_ANNOTATION } from '../../operator/injection/index.ts';
import { WEBHOOK_CONFIGURATION } from '../../operator/names.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { Changes } from '../inject/rollout.ts';
import { Progress } from '../terminal-progress.ts';
import type { Terminal } from '../terminal.ts';

export interface WebhookCheckOptions extends AbortOptions {
  /** Those whose pods the API server does not call the webhook for. */
  readonly excludedNamespaces: readonly string[];
  readonly terminal: Terminal;
  readonly timeoutMilliseconds: number;
}

/** How long the way from the API server to a new Service may take once all else is ready. */
const TRY_AGAIN_MILLISECONDS = 500;
/** Every cluster has it, and the API server calls the webhook for its pods. */
const NAMESPACE = 'default';

/**
 * Has the API server call the webhook, by a pod that is not stored (a dry run): first the operator has to have put its authority into the configuration,
 * then the call has to arrive. Failures: INSTALL_WEBHOOK, and those of the API. Undefined: it answers; a text: why that could not be tried.
 */
export async function checkWebhook(cluster: Cluster, options: WebhookCheckOptions): Promise<string | undefined> {
  const { terminal, timeoutMilliseconds, signal } = options;
  const over = deadline(timeoutMilliseconds, signal);
  using progress = new Progress(terminal, 'waiting for the webhook: its certificate');
  await using watch = cluster.watch(mutatingWebhookConfigurations, { fieldSelector: `metadata.name=${WEBHOOK_CONFIGURATION}` });
  await watch.synced;
  using changes = new Changes(watch);
  const trusted = (): boolean =>
    [...watch.items.values()].some(({ webhooks }) => webhooks.every(({ clientConfig }) => clientConfig.caBundle !== undefined));
  for (; !trusted(); await changes.next(over, timeoutMilliseconds)) {
    if (!over.aborted) continue;
    signal?.throwIfAborted();
    throw new Failure('INSTALL_WEBHOOK', "the operator has not put its certificate's authority into the webhook's configuration", {
      remedy: 'see the log of Deployment kpeering-operator',
    });
  }
  if (options.excludedNamespaces.includes(NAMESPACE)) return `the namespace ${NAMESPACE} is excluded from injection`;
  for (;;) {
    progress.update('waiting for the webhook: an answer to the API server');
    const answer = await tryOnce(cluster, signal);
    if (answer === 'answered') return undefined;
    if (typeof answer === 'object') return answer.reason;
    if (over.aborted) {
      signal?.throwIfAborted();
      throw new Failure('INSTALL_WEBHOOK', "the API server gets no answer from kpeering's webhook: no pod would be injected", {
        likely: "a firewall or a network policy between the API server and the nodes: it calls port 15309 of the operator's pods",
        remedy: 'let it through; pods start as ever meanwhile, without a sidecar',
      });
    }
    await changes.next(over, TRY_AGAIN_MILLISECONDS);
  }
}

async function tryOnce(cluster: Cluster, signal: AbortSignal | undefined): Promise<'answered' | 'silent' | { readonly reason: string }> {
  try {
    const made = await cluster.create(pods, probePod, { namespace: NAMESPACE, dryRun: true, ...(signal !== undefined && { signal }) });
    const { labels, annotations } = made.metadata;
    return labels[INJECTED_LABEL] === 'true' || annotations[NOT_INJECTED_ANNOTATION] !== undefined ? 'answered' : 'silent';
  } catch (error) {
    // A quota, a policy of the cluster, Pod Security: it says nothing of the webhook.
    if (error instanceof Failure && ['API_FORBIDDEN', 'API_INVALID', 'API_ERROR'].includes(error.code)) return { reason: error.message };
    throw error;
  }
}

const probePod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { generateName: 'kpeering-webhook-check-', labels: { [INJECT_LABEL]: 'enabled' } },
  spec: {
    restartPolicy: 'Always',
    containers: [{ name: 'check', image: 'kpeering/kpeering', ports: [{ containerPort: 80 }] }],
  },
} as const;
