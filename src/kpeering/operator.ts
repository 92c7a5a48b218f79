import { connectCluster } from '../cluster/connect.ts';
import { Operator } from '../operator/operator.ts';
import { leaderTasks } from '../operator/leader-tasks.ts';
import { parseSettings } from '../operator/settings.ts';
import { Failure } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import { OwnedStack } from '../platform/owned.ts';
import { EVERYWHERE, HealthServer } from './health.ts';
import { processMetrics } from './metrics.ts';
import type { Role } from './role.ts';

export interface OperatorRoleOptions {
  readonly webhookPort: number;
  readonly healthHost: string;
  readonly healthPort: number;
  /** POD_NAME, POD_NAMESPACE and KPEERING_SETTINGS; where the API is. */
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Logger;
}

/** `kpeering operator`: one replica of the operator with its health port. */
export class OperatorRole implements Role {
  readonly #health: HealthServer;
  readonly #operator: Operator;
  readonly #owned: OwnedStack;

  private constructor(health: HealthServer, operator: Operator, owned: OwnedStack) {
    this.#health = health;
    this.#operator = operator;
    this.#owned = owned;
    health.moreMetrics = async () => await operator.metrics.text();
    health.readiness = 'ready';
  }

  /** Starts it; a failed start, or one that `signal` ends, stops what it started. It may wait for the leader's certificate. */
  static async start({ environment, log, ...options }: OperatorRoleOptions, signal: AbortSignal): Promise<OperatorRole> {
    const settings = parseSettings(environment['KPEERING_SETTINGS']);
    const { POD_NAME: name = '', POD_NAMESPACE: namespace = '' } = environment;
    if (name === '' || namespace === '') {
      throw new Failure('OPERATOR_SETTINGS', 'POD_NAME and POD_NAMESPACE are not both set', {
        remedy: 'install the operator by kpctl install or the Helm chart',
      });
    }
    const owned = new OwnedStack();
    try {
      const health = owned.use(await HealthServer.listen(options.healthHost, options.healthPort, processMetrics(environment)));
      const cluster = owned.use(await connectCluster({ logger: log }));
      const operator = owned.use(
        await Operator.start(
          { cluster, settings, namespace, name, webhookHost: EVERYWHERE, webhookPort: options.webhookPort, tasks: leaderTasks, log },
          { signal },
        ),
      );
      log.info({ webhook: operator.webhookPort, health: health.port }, 'ready');
      return new OperatorRole(health, operator, owned);
    } catch (error) {
      await owned.close();
      throw error;
    }
  }

  async drain(): Promise<void> {
    this.#health.readiness = 'draining';
    await this.#operator.drain();
  }

  async close(): Promise<void> {
    this.#health.readiness = 'draining';
    await this.#owned.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
