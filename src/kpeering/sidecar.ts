import { keyOf, ClaimTable, type ClaimChange, type ClaimSession } from '../claims/claim-table.ts';
import { FlowRouter, type FlowEnd } from '../claims/flow-router.ts';
import type { ClaimAnswer, ClaimTarget } from '../claims/messages.ts';
import { StayingConnections } from '../claims/staying.ts';
import type { LiveRules } from '../interceptor/live-rules.ts';
import type { Flow, InterceptorCounters } from '../interceptor/types.ts';
import type { Closeable } from '../platform/owned.ts';
import { isReservedPort, ports } from '../platform/ports.ts';
import { RequestError } from '../tunnel/errors.ts';
import type { SessionOptions } from '../tunnel/index.ts';
import { appConnections } from './app-connections.ts';
import { captureSettings, liveCaptureSettings, type CaptureSettings } from './capture-settings.ts';
import { TunnelEndpoint } from './endpoint.ts';
import { HealthServer } from './health.ts';
import { InboundCapture } from './inbound-capture.ts';
import { processMetrics } from './metrics.ts';
import { OutboundCapture, OwnCalls } from './outbound-capture.ts';
import { isOwnPort } from './own-ports.ts';
import { passThrough } from './pass-through.ts';
import { answerProve } from './proof.ts';
import { helloOf, settled, type Role, type RoleOptions } from './role.ts';
import { sidecarMetrics } from './sidecar-metrics.ts';

export interface SidecarOptions extends RoleOptions {
  /** Where the rules send captured TCP in redirect mode. */
  readonly inboundPort: number;
  /** False: laptops may not dial from this pod (KPEERING_OUTBOUND=disabled). */
  readonly dials?: boolean;
  /** What the init container says; read from the environment when absent. */
  readonly capture?: CaptureSettings;
  /** True: no init container has been here; each claim brings its rule, and the last one takes the rules with it (decision 0016). */
  readonly ownRules?: boolean;
  /** Told when a laptop has gone. */
  readonly onSessionEnded?: () => void;
  /** How long a lost laptop's claims wait for it. */
  readonly graceMilliseconds?: number;
  readonly session?: SessionOptions;
}

/** `kpeering sidecar`: captures the pod's flows, and takes each to the laptop that claims it, or to where it was going. */
export class Sidecar implements Role {
  /** What was turned away; for the metrics. */
  readonly counters: Readonly<InterceptorCounters>;
  readonly #counters: InterceptorCounters = { ownPortDials: 0 };
  readonly #options: SidecarOptions;
  readonly #settings: CaptureSettings;
  readonly #health: HealthServer;
  readonly #table: ClaimTable;
  readonly #router: FlowRouter;
  readonly #staying: StayingConnections;
  readonly #ownCalls = new OwnCalls();
  readonly #ended: Record<FlowEnd, number> = { app: 0, laptop: 0, refused: 0, gone: 0 };
  #endpoint: TunnelEndpoint | undefined;
  #inbound: InboundCapture | undefined;
  #live: LiveRules | undefined;
  #outbound: OutboundCapture | undefined;
  #dns: Closeable | undefined;
  #closed: Promise<void> | undefined;

  private constructor(health: HealthServer, options: SidecarOptions) {
    const { log, graceMilliseconds, inboundPort } = options;
    this.counters = this.#counters;
    this.#options = options;
    this.#settings =
      options.capture ??
      (options.ownRules === true ? liveCaptureSettings(process.env, log) : captureSettings(process.env, inboundPort, log));
    this.#health = health;
    this.#table = new ClaimTable({
      ...(graceMilliseconds === undefined ? {} : { graceMilliseconds }),
      onChange: (change) => this.#claimChanged(change),
    });
    this.#router = new FlowRouter({ table: this.#table, toApp: async (flow) => this.#passThrough(flow), log });
    this.#staying = new StayingConnections({
      table: this.#table,
      connections: (target) => this.#connectionsWithApp(target),
      log,
    });
  }

  /** Starts all of it; a failed start stops what it started. */
  static async start(options: SidecarOptions): Promise<Sidecar> {
    const sidecar = new Sidecar(await HealthServer.listen(options.healthHost, options.healthPort, processMetrics(process.env)), options);
    try {
      await sidecar.#listen();
      return sidecar;
    } catch (error) {
      await sidecar.close();
      throw error;
    }
  }

  /** Where it listens; `inbound` is 0 in tproxy mode. */
  get ports(): { readonly inbound: number; readonly tunnel: number; readonly health: number } {
    return { inbound: this.#inbound?.port ?? 0, tunnel: this.#endpoint?.port ?? 0, health: this.#health.port };
  }

  /** Whether a laptop is connected, or connections go through here. */
  get busy(): boolean {
    return (this.#endpoint?.sessions.length ?? 0) > 0 || (this.#endpoint?.activeDials ?? 0) > 0 || this.#router.activeFlows > 0;
  }

  /**
   * Not ready from now on, and no new connections (in tproxy mode they are the app's); resolves when all flows have ended. Tunnels
   * stay until then, because flows of both directions go through them.
   */
  async drain(): Promise<void> {
    this.#health.readiness = 'draining';
    this.#endpoint?.stopAccepting();
    await Promise.all([this.#inbound?.stop(), this.#outbound?.close()]);
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
    const { rules, mark } = this.#settings;
    const marked = mark === undefined ? {} : { mark };
    this.#endpoint = await TunnelEndpoint.listen({
      port: this.#options.tunnelPort,
      hello: helloOf('sidecar', this.#options.name),
      answer: async (laptop, method, parameters) => this.#answer(laptop, method, parameters),
      onEnded: (laptop, end) => {
        this.#table.sessionEnded(laptop, end);
        this.#options.onSessionEnded?.();
      },
      ownPorts: () => Object.values(this.ports),
      dials: this.#options.dials ?? true,
      log,
      ...marked,
      ...(session === undefined ? {} : { session }),
    });
    const onFlow = (flow: Flow): void => void this.#captured(flow);
    if (this.#options.ownRules === true) {
      const live = await import('../interceptor/live-rules.ts');
      this.#live = new live.LiveRules({ log, ...marked });
    }
    this.#inbound = await InboundCapture.start({
      rules,
      ...(this.#live !== undefined && { live: this.#live }),
      table: this.#table,
      port: inboundPort,
      onFlow,
      isOwnPort: (port) => isReservedPort(port) || Object.values(this.ports).includes(port),
      counters: this.#counters,
      log,
    });
    if (rules.outbound.length > 0) {
      this.#outbound = await OutboundCapture.listen({
        port: ports.outbound,
        onFlow,
        isOwn: (destination) => isOwnPort(destination, Object.values(this.ports)),
        ownCalls: this.#ownCalls,
        counters: this.#counters,
        log,
      });
    }
    if (rules.dns) {
      const { DnsCapture } = await import('./dns-capture.ts');
      this.#dns = await DnsCapture.listen({ port: ports.dns, log, ...marked });
    }
    const live = this.#live;
    this.#health.metrics = [
      ...this.#health.metrics,
      ...sidecarMetrics({
        ownPortDials: () => this.#counters.ownPortDials,
        flows: () => this.#router.activeFlows,
        ended: () => this.#ended,
        sessions: () => this.#endpoint?.sessions.length ?? 0,
        claims: () => this.#table.size,
        ...(live !== undefined && { liveRules: () => live.size }),
        udp: () => this.#inbound?.udp ?? [],
      }),
    ];
    this.#health.more.set('/prove', async () => await answerProve(() => this.#ready().proof));
    this.#health.readiness = 'ready';
    const { mode, reason, backend } = rules;
    log.info({ ...this.ports, mode, reason, backend }, `${this.#inbound.description}; tunnel on 127.0.0.1:${this.#endpoint.port}`);
  }

  /** zod comes with the first laptop: an idle sidecar does without. */
  async #answer(laptop: ClaimSession, method: string, parameters: unknown): Promise<unknown> {
    const { answerClaimRequest } = await import('../claims/requests.ts');
    const { mode, reason, backend, tcp, udp, except, outbound } = this.#settings.rules;
    return answerClaimRequest(
      {
        claim: async (session, target) => this.#claim(session, target),
        release: (session, target) => this.#table.release(session, target),
        claims: () => this.#table.list(),
        prove: async () => this.#ready().proof.begin(),
        rules: () => ({
          mode,
          reason,
          backend,
          tcp: Object.keys(tcp),
          udp: Object.keys(udp),
          except: [...except],
          outbound: [...outbound],
        }),
      },
      laptop,
      method,
      parameters,
    );
  }

  /** Answered when new flows come here. */
  async #claim(session: ClaimSession, target: ClaimTarget): Promise<ClaimAnswer> {
    const { claims } = this.#ready();
    claims.check(target);
    const answer = this.#table.claim(session, target);
    try {
      await claims.hold(target);
    } catch (error) {
      this.#table.release(session, target);
      throw error;
    }
    if (target.protocol === 'udp') return answer;
    // The session may have ended while the listener opened.
    return this.#table.decide(target).kind === 'app' ? answer : { ...answer, staying: this.#staying.begin(target) };
  }

  #ready(): InboundCapture {
    // A claim made while draining would be taken from its holder within seconds.
    if (this.#inbound === undefined || this.#health.readiness === 'draining') throw new RequestError('draining', 'the pod is about to end');
    return this.#inbound;
  }

  #claimChanged({ target, change, holder }: ClaimChange): void {
    this.#options.log.info({ target: keyOf(target), holder }, `claim: ${change}`);
    if (change !== 'released') return;
    this.#staying.end(target);
    this.#inbound?.claims.drop(target);
  }

  /** Those that we pass through, and those that the kernel delivers without us. */
  *#connectionsWithApp(target: ClaimTarget): Iterable<unknown> {
    yield* this.#router.withApp(target);
    if (this.#inbound?.kernelDelivers(target) === true) yield* appConnections(target);
  }

  async #captured(flow: Flow): Promise<void> {
    try {
      const end = await this.#router.route(flow);
      this.#ended[end] += 1;
    } catch (error) {
      this.#options.log.error({ err: error }, 'a bug: a flow failed');
      flow.socket.resetAndDestroy();
    }
  }

  async #passThrough(flow: Flow): Promise<void> {
    const { rules, mark } = this.#settings;
    const ofPod = rules.mode === 'redirect' ? 'distinctive' : rules.keepSource ? 'caller' : 'own';
    const source = flow.outbound === true ? 'own' : ofPod;
    await passThrough(flow, {
      source,
      log: this.#options.log,
      ...(mark === undefined ? {} : { mark }),
      ...(flow.outbound === true ? { onSocket: (socket) => this.#ownCalls.add(socket, flow.destination) } : {}),
    });
  }

  async #close(): Promise<void> {
    this.#health.readiness = 'draining';
    // At once: after a second signal the process ends without waiting.
    this.#router.resetAll();
    await Promise.all([this.#inbound?.close(), this.#outbound?.close(), this.#dns?.close()]);
    this.#router.resetAll();
    await this.#live?.close();
    await this.#endpoint?.close();
    this.#table.clear();
    await this.#health.close();
  }
}
