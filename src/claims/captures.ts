import { capturedPort, capturesOutbound, matchesEntry, type CapturedPort, type Rules } from '../interceptor/rules-file.ts';
import { RulesRefused } from '../interceptor/rules-refused.ts';
import type { SwitchedInterceptor } from '../interceptor/types.ts';
import { messageOf, systemCode } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import { RequestError } from '../tunnel/errors.ts';
import { keyOf, nameOf } from './claim-table.ts';
import type { ClaimTarget, NotCaptured } from './messages.ts';

export interface CapturesOptions {
  readonly rules: Rules;
  /** Makes the interceptor of one captured entry; it is not open yet. Asked once for each; `target` is the first of it that is claimed. */
  readonly listener: (target: ClaimTarget, captured: CapturedPort) => SwitchedInterceptor;
  /** A port of kpeering itself can be captured, but not claimed. */
  readonly isOwnPort: (port: number) => boolean;
  readonly log: Logger;
}

interface Capture {
  readonly interceptor: SwitchedInterceptor;
  /** Keys of the claims that need it. */
  readonly claims: Set<string>;
}

/**
 * Joins claims and listeners in tproxy mode: the first claim of a captured entry opens its listener, the last one's end releases it. In
 * redirect mode, and for the pod's own calls, all that is captured comes here anyway.
 */
export class Captures {
  readonly #options: CapturesOptions;
  readonly #captures = new Map<string, Capture>();
  #stopped = false;

  constructor(options: CapturesOptions) {
    this.#options = options;
  }

  /** Throws RequestError `port-not-captured`, with NotCaptured as details, when the pod's rules do not capture the target. */
  check(target: ClaimTarget): void {
    const { rules, isOwnPort } = this.#options;
    const { protocol, port, address } = target;
    const details: NotCaptured = {
      mode: rules.mode,
      tcp: Object.keys(rules.tcp),
      udp: Object.keys(rules.udp),
      outbound: [...rules.outbound],
    };
    if (address === undefined) {
      if (isOwnPort(port)) throw notCaptured(`${nameOf(target)} is one of kpeering's own`, details);
      if (capturedPort(rules, protocol, port) !== undefined) return;
      if (protocol === 'udp' && rules.mode === 'redirect')
        throw notCaptured(`UDP is not captured in redirect mode (${rules.reason})`, details);
      const captured = protocol === 'udp' ? details.udp : details.tcp;
      const variable = protocol === 'udp' ? 'KPEERING_INBOUND_UDP_PORTS' : 'KPEERING_INBOUND_PORTS';
      throw notCaptured(`${nameOf(target)} is not captured in this pod; captured: ${captured.join(', ') || 'none'} (${variable})`, details);
    }
    if (protocol === 'udp') throw notCaptured("the pod's own UDP is not captured", details);
    if (capturesOutbound(rules, { address, port })) return;
    const captured = rules.outbound.join(', ') || 'none';
    const excluded = rules.outbound.some((entry) => matchesEntry(entry, port))
      ? '; it is left out by KPEERING_OUTBOUND_CIDRS, KPEERING_EXCLUDE_OUTBOUND_PORTS, KPEERING_EXCLUDE_OUTBOUND_CIDRS or KPEERING_DNS'
      : '';
    throw notCaptured(
      `calls from this pod to ${nameOf(target)} are not captured; captured: ${captured} (KPEERING_OUTBOUND_PORTS)${excluded}`,
      details,
    );
  }

  /**
   * A claim of this target has begun, or goes on: resolves when its flows come here. Rejects with RequestError `capture-failed` when
   * the listener cannot be opened: the claim must be ended then.
   */
  async hold(target: ClaimTarget): Promise<void> {
    const capture = this.#stopped ? undefined : this.#captureOf(target);
    if (capture === undefined) return;
    capture.claims.add(keyOf(target));
    try {
      await capture.interceptor.open();
    } catch (error) {
      capture.claims.delete(keyOf(target));
      throw captureFailed(capture.interceptor.description, error);
    }
  }

  /** The claim of this target has ended. */
  drop(target: ClaimTarget): void {
    const capture = this.#captureOf(target);
    if (capture === undefined || !capture.claims.delete(keyOf(target)) || capture.claims.size > 0) return;
    void this.#release(capture);
  }

  /** New flows are the app's from now on, whatever is claimed. Resolves when those that had begun have been handed out. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#captures.values()].map(async (capture) => this.#release(capture)));
  }

  /** Closes all listeners at once. */
  async close(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#captures.values()].map(async ({ interceptor }) => interceptor.close()));
  }

  async #release({ interceptor }: Capture): Promise<void> {
    try {
      await interceptor.release();
    } catch (error) {
      this.#options.log.error({ err: error }, `a bug: ${interceptor.description} could not be released`);
      await interceptor.close();
    }
  }

  #captureOf(target: ClaimTarget): Capture | undefined {
    const { rules, listener } = this.#options;
    const { protocol, port, address } = target;
    if (rules.mode === 'redirect' || address !== undefined) return undefined;
    const captured = capturedPort(rules, protocol, port);
    if (captured === undefined) return undefined;
    const key = `${protocol}/${captured.listener}`;
    let capture = this.#captures.get(key);
    if (capture === undefined) this.#captures.set(key, (capture = { interceptor: listener(target, captured), claims: new Set() }));
    return capture;
  }
}

/** RequestError `capture-failed`: a listener of ours cannot be opened. */
export function captureFailed(description: string, error: unknown): RequestError {
  return new RequestError('capture-failed', `${description} cannot be opened: ${messageOf(error)}; ${remedyFor(error)}`, { cause: error });
}

function remedyFor(error: unknown): string {
  if (error instanceof RulesRefused) {
    return 'without an init container kpeering needs Linux 5.12 or newer with TPROXY in nftables: kpctl inject does without both';
  }
  return ['EPERM', 'EACCES'].includes(systemCode(error) ?? '')
    ? 'the sidecar lacks the capability NET_RAW: it must run as user 0 with NET_RAW added (a user other than 0 does not get it)'
    : 'see the log of the sidecar';
}

function notCaptured(message: string, details: NotCaptured): RequestError {
  return new RequestError('port-not-captured', message, { details });
}
