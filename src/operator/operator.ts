import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { deployments } from '../cluster/resources.ts';
import type { Cluster } from '../cluster/types.ts';
import type { AbortOptions } from '../platform/abort.ts';
import { Failure } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import { OwnedStack, type Closeable } from '../platform/owned.ts';
import { CertificateKeeper } from './certificates/keeper.ts';
import { CertificateStore } from './certificates/store.ts';
import { LeaseElection } from './election/lease-election.ts';
import { Term } from './election/term.ts';
import type { LeaderTask } from './leader-task.ts';
import { LeftAloneReports } from './left-alone.ts';
import { OperatorMetrics } from './metrics.ts';
import { NamespaceStore } from './namespaces.ts';
import { OPERATOR_NAME } from './names.ts';
import { injectionSettings, type OperatorSettings } from './settings.ts';
import { Admission } from './webhook/admission.ts';
import { WebhookServer } from './webhook/server.ts';

/** How long calls may still come after the Service has been told that this replica ends: kube-proxy of every node has to hear of it. */
const LINGER_MILLISECONDS = 8_000;

export interface OperatorOptions {
  /** As the operator's service account; the caller closes it. */
  readonly cluster: Cluster;
  readonly settings: OperatorSettings;
  /** Its own. */
  readonly namespace: string;
  /** Of its pod. */
  readonly name: string;
  readonly webhookHost: string;
  readonly webhookPort: number;
  /** What the leader does beside the certificate. */
  readonly tasks: readonly LeaderTask[];
  readonly log: Logger;
}

/** One replica of the operator: the webhook in each, and the leader's tasks in the one that holds the Lease. */
export class Operator implements Closeable {
  readonly metrics: OperatorMetrics;
  readonly #owned: OwnedStack;
  readonly #webhook: WebhookServer;
  readonly #election: LeaseElection;

  private constructor(metrics: OperatorMetrics, owned: OwnedStack, webhook: WebhookServer, election: LeaseElection) {
    this.metrics = metrics;
    this.#owned = owned;
    this.#webhook = webhook;
    this.#election = election;
  }

  /**
   * Resolves when the webhook answers, which it cannot before there is a certificate: the first leader makes it. A failed start, and one that
   * `signal` ends, stops what it has started. Failures: those of the API, LISTEN_FAILED.
   */
  static async start(options: OperatorOptions, abort: AbortOptions = {}): Promise<Operator> {
    const { cluster, namespace, name, settings, log, webhookHost, webhookPort: port } = options;
    const owned = new OwnedStack();
    try {
      const { major, minor, text } = await cluster.version(abort);
      const nativeSidecars = major > 1 || minor >= 29;
      log.info({ kubernetes: text, nativeSidecars, namespace }, 'the operator starts');
      const ownerReferences = await ownDeployment(cluster, namespace, log, abort);
      const metrics = new OperatorMetrics();
      const store = owned.use(await CertificateStore.open(cluster, namespace, log, abort));
      const namespaces = owned.use(await NamespaceStore.open(cluster, abort));
      const certificate: LeaderTask = {
        name: 'certificate',
        start: async () => await CertificateKeeper.start({ cluster, namespace, store, port, ownerReferences, log }),
      };
      const context = { cluster, log, settings, namespace };
      const election = owned.use(
        new LeaseElection({
          cluster,
          namespace,
          identity: `${name}_${randomUUID()}`,
          ownerReferences,
          lead: () => {
            const term = new Term([certificate, ...options.tasks], { ...context, metrics: metrics.termBegan() });
            return onClose(term, () => metrics.termEnded());
          },
          log,
        }),
      );
      const reports = owned.use(new LeftAloneReports(cluster, log));
      const admission = new Admission({
        settings: injectionSettings(settings, namespace, nativeSidecars),
        namespaces,
        report: (pod) => reports.report(pod),
        count: metrics,
        log,
      });
      const webhook = owned.use(
        await WebhookServer.listen({
          host: webhookHost,
          port,
          certificate: await store.first(abort),
          answer: async (body) => await admission.answer(body),
          onHandshakeFailed: () => metrics.handshakeFailed(),
        }),
      );
      follow(store, webhook, metrics, log);
      return new Operator(metrics, owned, webhook, election);
    } catch (error) {
      await owned.close();
      throw error;
    }
  }

  get webhookPort(): number {
    return this.#webhook.port;
  }

  get leading(): boolean {
    return this.#election.leading;
  }

  /** Gives the Lease back, and goes on answering until no caller comes any more. Who asks for its readiness must be told before. */
  async drain(): Promise<void> {
    this.#webhook.drain();
    await this.#election.close();
    await sleep(LINGER_MILLISECONDS);
    await this.#webhook.close();
  }

  async close(): Promise<void> {
    await this.#owned.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The webhook serves what the Secret says. */
function follow(store: CertificateStore, webhook: WebhookServer, metrics: OperatorMetrics, log: Logger): void {
  let served = '';
  function serve(): void {
    const { serving } = store;
    if (serving === undefined || serving.certificate === served) return;
    served = serving.certificate;
    webhook.setCertificate(serving);
    metrics.serving(serving.notAfter);
    log.info({ until: new Date(serving.notAfter).toISOString() }, 'the webhook serves its certificate');
  }
  store.onChange(serve);
  serve();
}

/** What owns the objects that the operator makes, so that they go with it. Not known where it does not run as the Deployment that is installed. */
async function ownDeployment(cluster: Cluster, namespace: string, log: Logger, abort: AbortOptions): Promise<readonly object[]> {
  try {
    const { metadata } = await cluster.get(deployments, OPERATOR_NAME, { namespace, ...abort });
    return [{ apiVersion: 'apps/v1', kind: 'Deployment', name: metadata.name, uid: metadata.uid }];
  } catch (error) {
    if (!(error instanceof Failure && error.code === 'NOT_FOUND')) throw error;
    log.warn(
      { deployment: OPERATOR_NAME },
      'there is no Deployment of that name: the Secret and the Lease will stay when the operator goes',
    );
    return [];
  }
}

function onClose(work: Closeable, then: () => void): Closeable {
  async function close(): Promise<void> {
    then();
    await work.close();
  }
  return { close, [Symbol.asyncDispose]: close };
}
