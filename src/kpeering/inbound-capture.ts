import { Captures } from '../claims/captures.ts';
import type { ClaimTable } from '../claims/claim-table.ts';
import type { ClaimTarget } from '../claims/messages.ts';
import type { Rules } from '../interceptor/rules-file.ts';
import { listenRedirect, type RedirectInterceptor } from '../interceptor/redirect.ts';
import { TransparentListener } from '../interceptor/transparent.ts';
import type { Flow, FlowHandler, InterceptorCounters } from '../interceptor/types.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import { ports } from '../platform/ports.ts';
import type { UdpCapture, UdpCaptureOptions } from './udp-capture.ts';
import { Proof } from './proof.ts';

export interface InboundCaptureOptions {
  readonly rules: Rules;
  /** Where the rules send captured TCP in redirect mode. */
  readonly port: number;
  readonly onFlow: FlowHandler;
  /** Whether a port is kpeering's own: a flow to it is reset, and it cannot be claimed. */
  readonly isOwnPort: (port: number) => boolean;
  readonly table: ClaimTable;
  readonly counters: InterceptorCounters;
  readonly log: Logger;
}

/** What comes to the pod from outside, in whichever mode the pod's rules have, and the proof that they work. */
export class InboundCapture implements Closeable {
  readonly claims: Captures;
  readonly proof: Proof;
  /** One for each UDP port that has been claimed. */
  readonly udp: UdpCapture[] = [];
  readonly #options: InboundCaptureOptions;
  #redirect: RedirectInterceptor | undefined;

  private constructor(options: InboundCaptureOptions, makeUdp: MakeUdp) {
    const { rules, table, isOwnPort, onFlow, log } = options;
    this.#options = options;
    this.proof = new Proof(
      rules.mode === 'tproxy'
        ? this.#transparent(
            ports.proofListener,
            (flow) => this.proof.answer(flow),
            (port) => port !== ports.proof,
          )
        : undefined,
    );
    this.claims = new Captures({
      rules,
      // UDP has single ports only: the one that is claimed is the one that is captured.
      listener: ({ protocol, port }, { listener }) =>
        protocol === 'tcp'
          ? this.#transparent(listener, onFlow, isOwnPort)
          : this.#udp(makeUdp({ table, port, listenerPort: listener, log })),
      isOwnPort,
      log,
    });
  }

  /** In redirect mode it listens at once, in tproxy mode when something is claimed. Rejects with a Failure `LISTEN_FAILED`. */
  static async start(options: InboundCaptureOptions): Promise<InboundCapture> {
    const { rules, port, counters, log } = options;
    const capture = new InboundCapture(options, Object.keys(rules.udp).length === 0 ? noUdp : await udpMaker());
    if (rules.mode === 'tproxy') return capture;
    capture.#redirect = await listenRedirect({
      host: '::',
      port,
      onFlow: (flow) => capture.#redirected(flow),
      isOwn: (destination) => options.isOwnPort(destination.port) && !(capture.proof.active && destination.port === ports.proof),
      counters,
      log,
    });
    return capture;
  }

  get description(): string {
    return this.#redirect?.description ?? 'TPROXY, nothing listens until something is claimed';
  }

  /** The redirect listener's; 0 in tproxy mode. */
  get port(): number {
    return this.#redirect?.port ?? 0;
  }

  /** Takes no new flows. Resolves when those that had begun have been handed out. */
  async stop(): Promise<void> {
    await this.#redirect?.close();
    await this.claims.stop();
  }

  /** Whether connections of this target exist that never come here. */
  kernelDelivers(target: ClaimTarget): boolean {
    return this.#options.rules.mode === 'tproxy' && target.address === undefined && target.protocol === 'tcp';
  }

  async close(): Promise<void> {
    await this.#redirect?.close();
    await Promise.all([this.claims.close(), this.proof.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #redirected(flow: Flow): void {
    if (flow.destination.port === ports.proof) this.proof.answer(flow);
    else this.#options.onFlow(flow);
  }

  #udp(capture: UdpCapture): UdpCapture {
    this.udp.push(capture);
    return capture;
  }

  #transparent(port: number, onFlow: FlowHandler, isOwnPort: (port: number) => boolean): TransparentListener {
    const { counters, log } = this.#options;
    return new TransparentListener({ port, onFlow, isOwnPort, counters, log });
  }
}

type MakeUdp = (options: UdpCaptureOptions) => UdpCapture;

async function udpMaker(): Promise<MakeUdp> {
  const { UdpCapture } = await import('./udp-capture.ts');
  return (options) => new UdpCapture(options);
}

/** `Captures.check` refuses such claims before. */
function noUdp(): never {
  throw new Error('a bug: the rules capture no UDP');
}
