import { RequestError } from '../tunnel/errors.ts';
import type { SessionOptions } from '../tunnel/index.ts';
import { TunnelEndpoint } from './endpoint.ts';
import { HealthServer } from './health.ts';
import { processMetrics } from './metrics.ts';
import { helloOf, settled, type Role, type RoleOptions } from './role.ts';

export interface GatewayOptions extends RoleOptions {
  readonly session?: SessionOptions;
}

/** `kpeering gateway`: the tunnel's endpoint and the forwarder without capture, the exit for a laptop that names no workload. */
export class Gateway implements Role {
  readonly #options: GatewayOptions;
  readonly #health: HealthServer;
  readonly #endpoint: TunnelEndpoint;
  #closed: Promise<void> | undefined;

  private constructor(health: HealthServer, endpoint: TunnelEndpoint, options: GatewayOptions) {
    this.#health = health;
    this.#endpoint = endpoint;
    this.#options = options;
    health.readiness = 'ready';
    options.log.info(this.ports, `tunnel on 127.0.0.1:${endpoint.port}`);
  }

  /** Starts it; a failed start stops what it started. */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const health = await HealthServer.listen(options.healthHost, options.healthPort, processMetrics(process.env));
    try {
      const endpoint = await TunnelEndpoint.listen({
        port: options.tunnelPort,
        hello: helloOf('gateway', options.name),
        answer: (_, method) => {
          if (method === 'claims') return { claims: [] };
          throw new RequestError('unknown-method', `a gateway captures nothing: there is no request "${method}"`);
        },
        ownPorts: () => [health.port],
        log: options.log,
        ...(options.session === undefined ? {} : { session: options.session }),
      });
      return new Gateway(health, endpoint, options);
    } catch (error) {
      await health.close();
      throw error;
    }
  }

  /** Where it listens. */
  get ports(): { readonly tunnel: number; readonly health: number } {
    return { tunnel: this.#endpoint.port, health: this.#health.port };
  }

  async drain(): Promise<void> {
    this.#health.readiness = 'draining';
    this.#endpoint.stopAccepting();
    await settled([this.#endpoint]);
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#health.readiness = 'draining';
    await this.#endpoint.close();
    await this.#health.close();
    this.#options.log.info('closed');
  }
}
