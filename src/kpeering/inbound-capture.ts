import { Captures } from '../claims/captures.ts';
import type { ClaimTable } from '../claims/claim-table.ts';
import type { LiveCaptures } from '../claims/live-captures.ts';
import type { ClaimTarget } from '../claims/messages.ts';
import type { LiveRules } from '../interceptor/live-rules.ts';
import type { Rules } from '../interceptor/rules-file.ts';
import { listenRedirect, type RedirectInterceptor } from '../interceptor/redirect.ts';
import { TransparentListener } from '../interceptor/transparent.ts';
import type { Flow, FlowHandler, InterceptorCounters, SwitchedInterceptor } from '../interceptor/types.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import { ports } from '../platform/ports.ts';
import type { UdpCapture, UdpCaptureOptions } from './udp-capture.ts';
import { Proof } from './proof.ts';

export interface InboundCaptureOptions {
  readonly rules: Rules;
  /** Rules of our own, which come and go with the claims; absent: the init container's, which are there. */
  readonly live?: LiveRules;
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
  readonly claims: Captures | LiveCaptures;
  readonly proof: Proof;
  /** One for each UDP port that has been claimed. */
  readonly udp: UdpCapture[] = [];
  readonly #options: InboundCaptureOptions;
  #redirect: RedirectInterceptor | undefined;

  private constructor(options: InboundCaptureOptions, { makeUdp, live }: Parts) {
    const { rules, table, isOwnPort, onFlow, log } = options;
    this.#options = options;
    const proof = (): TransparentListener =>
      this.#transparent(
        ports.proofListener,
        (flow) => this.proof.answer(flow),
        (port) => port !== ports.proof,
      );
    const listener = ({ protocol, port }: ClaimTarget, listenerPort: number): SwitchedInterceptor =>
      protocol === 'tcp' ? this.#transparent(listenerPort, onFlow, isOwnPort) : this.#udp(makeUdp({ table, port, listenerPort, log }));
    if (live !== undefined) {
      this.proof = new Proof(live.proof(proof()));
      this.claims = live.captures(listener);
      return;
    }
    this.proof = new Proof(rules.mode === 'tproxy' ? proof() : undefined);
    // UDP has single ports only: the one that is claimed is the one that is captured.
    this.claims = new Captures({ rules, listener: (target, captured) => listener(target, captured.listener), isOwnPort, log });
  }

  /** In redirect mode it listens at once, in tproxy mode when something is claimed. Rejects with a Failure `LISTEN_FAILED`. */
  static async start(options: InboundCaptureOptions): Promise<InboundCapture> {
    const { rules, live, port, counters, log } = options;
    const makeUdp = Object.keys(rules.udp).length === 0 ? noUdp : await udpMaker();
    const capture = new InboundCapture(options, { makeUdp, ...(live !== undefined && { live: await liveParts(options, live) }) });
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

interface Parts {
  readonly makeUdp: MakeUdp;
  readonly live?: LiveParts;
}

/** What brings its own rules. */
interface LiveParts {
  readonly proof: (listener: SwitchedInterceptor) => SwitchedInterceptor;
  readonly captures: (listener: (target: ClaimTarget, port: number) => SwitchedInterceptor) => LiveCaptures;
}

async function liveParts({ isOwnPort, log }: InboundCaptureOptions, rules: LiveRules): Promise<LiveParts> {
  const [{ RuledInterceptor }, live] = await Promise.all([import('../interceptor/ruled.ts'), import('../claims/live-captures.ts')]);
  const rule = { kind: 'inbound', protocol: 'tcp', port: ports.proof, listener: ports.proofListener } as const;
  return {
    proof: (listener) => new RuledInterceptor(listener, rules, rule),
    captures: (listener) => new live.LiveCaptures({ rules, listener, isOwnPort, log }),
  };
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
