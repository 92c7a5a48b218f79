import { answerClaimRequest, ClaimTable, FlowRouter } from '../claims/index.ts';
import { listenRedirect, type RedirectInterceptor } from '../interceptor/index.ts';
import type { Flow } from '../interceptor/types.ts';
import { RequestError, type SessionOptions } from '../tunnel/index.ts';
import { TunnelEndpoint } from './endpoint.ts';
import { HealthServer } from './health.ts';
import { passThrough } from './pass-through.ts';
import { helloOf, settled, type Role, type RoleOptions } from './role.ts';

export interface SidecarOptions extends RoleOptions {
  readonly inboundPort: number;
  /** How long a lost laptop's claims wait for it. */
  readonly graceMilliseconds?: number;
  readonly session?: SessionOptions;
}

/** `kpeering sidecar`: captures the pod's inbound flows, and takes each to the laptop that claims its port, or to the app. */
export class Sidecar implements Role {
  readonly #options: SidecarOptions;
  readonly #health: HealthServer;
  readonly #table: ClaimTable;
  readonly #router: FlowRouter;
  #endpoint: TunnelEndpoint | undefined;
  #interceptor: RedirectInterceptor | undefined;
  #closed: Promise<void> | undefined;

  private constructor(health: HealthServer, options: SidecarOptions) {
    const { log, graceMilliseconds } = options;
    this.#options = options;
    this.#health = health;
    this.#table = new ClaimTable({
      ...(graceMilliseconds === undefined ? {} : { graceMilliseconds }),
      onChange: ({ port, change, holder }) => log.info({ port, holder }, `claim: ${change}`),
    });
    this.#router = new FlowRouter({ table: this.#table, toApp: async (flow) => passThrough(flow, log), log });
  }

  /** Starts all of it; a failed start stops what it started. */
  static async start(options: SidecarOptions): Promise<Sidecar> {
    const sidecar = new Sidecar(await HealthServer.listen(options.healthHost, options.healthPort), options);
    try {
      await sidecar.#listen();
      return sidecar;
    } catch (error) {
      await sidecar.close();
      throw error;
    }
  }

  /** Where it listens. */
  get ports(): { readonly inbound: number; readonly tunnel: number; readonly health: number } {
    return { inbound: this.#interceptor?.port ?? 0, tunnel: this.#endpoint?.port ?? 0, health: this.#health.port };
  }

  /**
   * Not ready from now on, and no new connections; resolves when all flows have ended. Tunnels stay until then, because
   * flows of both directions go through them.
   */
  async drain(): Promise<void> {
    this.#health.readiness = 'draining';
    this.#endpoint?.stopAccepting();
    await this.#interceptor?.close();
    await settled([this.#router, this.#endpoint]);
  }

  /** Resets what is left, says goodbye to the laptops, frees everything. */
  async close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #listen(): Promise<void> {
    const { log, inboundPort, session } = this.#options;
    this.#endpoint = await TunnelEndpoint.listen({
      port: this.#options.tunnelPort,
      hello: helloOf('sidecar', this.#options.name),
      answer: (laptop, method, parameters) => {
        // A claim made now would be taken from its holder within seconds.
        if (method === 'claim' && this.#health.readiness === 'draining') throw new RequestError('draining', 'the pod is about to end');
        return answerClaimRequest(this.#table, laptop, method, parameters);
      },
      onEnded: (laptop, end) => this.#table.sessionEnded(laptop, end),
      ownPorts: () => [this.ports.inbound, this.ports.health],
      log,
      ...(session === undefined ? {} : { session }),
    });
    this.#interceptor = await listenRedirect({
      host: '0.0.0.0',
      port: inboundPort,
      onFlow: (flow) => void this.#captured(flow),
      ownPorts: [this.#endpoint.port, this.#health.port],
      log,
    });
    this.#health.readiness = 'ready';
    log.info(this.ports, `${this.#interceptor.description}, tunnel on 127.0.0.1:${this.#endpoint.port}`);
  }

  async #captured(flow: Flow): Promise<void> {
    try {
      await this.#router.route(flow);
    } catch (error) {
      this.#options.log.error({ err: error }, 'a bug: a flow failed');
      flow.socket.resetAndDestroy();
    }
  }

  async #close(): Promise<void> {
    this.#health.readiness = 'draining';
    await this.#interceptor?.close();
    this.#router.resetAll();
    await this.#endpoint?.close();
    this.#table.clear();
    await this.#health.close();
  }
}
