import { RedirectedCalls, RuledInterceptor, type Rules } from '../interceptor/ruled.ts';
import type { SwitchedInterceptor } from '../interceptor/types.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import { ports } from '../platform/ports.ts';
import { RequestError } from '../tunnel/errors.ts';
import { captureFailed } from './captures.ts';
import { keyOf, nameOf } from './claim-table.ts';
import type { ClaimTarget, NotCaptured } from './messages.ts';

export interface LiveCapturesOptions {
  readonly rules: Rules;
  /** Makes the interceptor of a port of the pod, on a port of ours; it is not open yet. */
  readonly listener: (target: ClaimTarget, listenerPort: number) => SwitchedInterceptor;
  /** A port of kpeering itself cannot be claimed. */
  readonly isOwnPort: (port: number) => boolean;
  readonly log: Logger;
}

/** Stays when its claim has ended: the next one has the same listener. */
interface Capture {
  readonly interceptor: SwitchedInterceptor;
  /** The listener's, of an inbound target. */
  readonly port?: number;
  /** When whoever had the listener's port before has left it. */
  readonly ready?: Promise<void>;
  claimed: boolean;
}

const ANY: NotCaptured = { mode: 'tproxy', tcp: ['*'], udp: ['*'], outbound: ['*'] };

/**
 * Joins claims and rules where the rules are our own: each claim brings its rule and its listener, and takes them with it. So any port can be
 * claimed, and what is not claimed has no rule.
 */
export class LiveCaptures implements Closeable {
  readonly #options: LiveCapturesOptions;
  readonly #captures = new Map<string, Capture>();
  #stopped = false;

  constructor(options: LiveCapturesOptions) {
    this.#options = options;
  }

  /** Throws RequestError `port-not-captured` for what cannot be claimed here. */
  check({ protocol, port, address }: ClaimTarget): void {
    if (address === undefined && this.#options.isOwnPort(port)) {
      throw new RequestError('port-not-captured', `${nameOf({ protocol, port })} is one of kpeering's own`, { details: ANY });
    }
    if (address !== undefined && protocol === 'udp') {
      throw new RequestError('port-not-captured', "the pod's own UDP is not captured", { details: { ...ANY, outbound: [] } });
    }
  }

  /** Resolves when the target's flows come here. Rejects with RequestError `capture-failed`: the claim must be ended then. */
  async hold(target: ClaimTarget): Promise<void> {
    if (this.#stopped) return;
    const capture = this.#captures.get(keyOf(target)) ?? this.#add(target);
    capture.claimed = true;
    try {
      await capture.ready;
      await capture.interceptor.open();
    } catch (error) {
      capture.claimed = false;
      throw captureFailed(capture.interceptor.description, error);
    }
  }

  /** The claim of this target has ended. */
  drop(target: ClaimTarget): void {
    const capture = this.#captures.get(keyOf(target));
    if (capture === undefined) return;
    capture.claimed = false;
    // Addresses are many: those of a headless Service come and go.
    if (capture.port === undefined) this.#captures.delete(keyOf(target));
    void this.#release(capture);
  }

  /** New flows are the app's from now on. Resolves when those that had begun have been handed out, and no rule is left. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const capture of this.#captures.values()) capture.claimed = false;
    await Promise.all([...this.#captures.values()].map(async ({ interceptor }) => interceptor.release()));
  }

  /** Closes all listeners at once. */
  async close(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#captures.values()].map(async ({ interceptor }) => interceptor.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #add(target: ClaimTarget): Capture {
    const { rules, listener } = this.#options;
    const { protocol, port, address } = target;
    let capture: Capture;
    if (address === undefined) {
      const place = this.#placeFor(protocol);
      const rule = { kind: 'inbound', protocol, port, listener: place.port } as const;
      capture = { ...place, interceptor: new RuledInterceptor(listener(target, place.port), rules, rule), claimed: false };
    } else {
      capture = { interceptor: new RedirectedCalls(rules, { address, port }), claimed: false };
    }
    this.#captures.set(keyOf(target), capture);
    return capture;
  }

  async #release({ interceptor }: Capture): Promise<void> {
    try {
      await interceptor.release();
    } catch (error) {
      this.#options.log.error({ err: error }, `a bug: ${interceptor.description} could not be released`);
      await interceptor.close().catch(() => undefined);
    }
  }

  /** A port for a listener: a free one, else that of a target which is not claimed any more. */
  #placeFor(protocol: ClaimTarget['protocol']): { readonly port: number; readonly ready?: Promise<void> } {
    const used = [...this.#captures].filter(([key, { port }]) => port !== undefined && key.startsWith(`${protocol}/`));
    const taken = new Set(used.map(([, { port }]) => port));
    for (let port: number = ports.firstListener; port <= ports.lastListener; port++) if (!taken.has(port)) return { port };
    const [key, given] = used.find(([, { claimed }]) => !claimed) ?? [];
    if (key === undefined || given?.port === undefined) {
      throw new RequestError('capture-failed', `${taken.size} ports are claimed in this pod, and each needs a listener of its own`);
    }
    this.#captures.delete(key);
    return { port: given.port, ready: given.interceptor.close() };
  }
}
