import type { Cluster, Watch } from '../../cluster/types.ts';
import { mutatingWebhookConfigurations, type MutatingWebhookConfiguration } from '../../cluster/webhooks.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import { OPERATOR_NAME, WEBHOOK_CONFIGURATION } from '../names.ts';
import { syncedWatch } from '../synced-watch.ts';

/** The caBundle of our MutatingWebhookConfiguration: which authorities the API servers trust for the webhook. */
export class CallerTrust implements Closeable {
  readonly #cluster: Cluster;
  readonly #watch: Watch<MutatingWebhookConfiguration>;
  readonly #log: Logger;

  private constructor(cluster: Cluster, watch: Watch<MutatingWebhookConfiguration>, log: Logger) {
    this.#cluster = cluster;
    this.#watch = watch;
    this.#log = log;
  }

  /** Resolves once it is known whether there is a configuration. Failures: those of a list. */
  static async open(cluster: Cluster, log: Logger): Promise<CallerTrust> {
    const fieldSelector = `metadata.name=${WEBHOOK_CONFIGURATION}`;
    return new CallerTrust(cluster, await syncedWatch(cluster, mutatingWebhookConfigurations, { fieldSelector }), log);
  }

  onChange(listener: () => void): () => void {
    return this.#watch.onChange(listener);
  }

  /** Whether all that call trust `bundle` (PEM), and it alone: nobody calls while there is no configuration. */
  has(bundle: string): boolean {
    return this.#others(bundle).length === 0;
  }

  /** Puts `bundle` into every entry of the configuration that has another one. Failures: those of a patch. */
  async set(bundle: string, signal: AbortSignal): Promise<void> {
    const others = this.#others(bundle);
    if (others.length === 0) return;
    const caBundle = Buffer.from(bundle).toString('base64');
    await this.#cluster.patch(
      mutatingWebhookConfigurations,
      WEBHOOK_CONFIGURATION,
      // Entries are merged by their names: one that is not there any more is not made by this, but refused, for want of its other fields.
      { kind: 'strategic', object: { webhooks: others.map((name) => ({ name, clientConfig: { caBundle } })) } },
      { fieldManager: OPERATOR_NAME, signal },
    );
    this.#log.info({ webhooks: others }, 'the caBundle of the webhook was set');
  }

  async close(): Promise<void> {
    await this.#watch.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Names of the entries with another bundle. */
  #others(bundle: string): readonly string[] {
    const caBundle = Buffer.from(bundle).toString('base64');
    const [configuration] = this.#watch.items.values();
    return (configuration?.webhooks ?? []).filter(({ clientConfig }) => clientConfig.caBundle !== caBundle).map(({ name }) => name);
  }
}
