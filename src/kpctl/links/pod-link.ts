import { holderSchema, type Holder } from '../../claims/messages.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';
import { ports } from '../../platform/ports.ts';
import { connectSession, RequestError, type IncomingStream, type LocalHello, type Session } from '../../tunnel/index.ts';
import { Backoff } from './backoff.ts';

/** A pod with kpeering in it. */
export interface LinkedPod {
  readonly namespace: string;
  readonly name: string;
}

export type LinkState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'up'; readonly session: Session }
  | { readonly kind: 'lost' }
  /** The pod is no more; the link has ended. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'closed' };

/** What a link tells its owner, in the order in which it happens. */
export type LinkEvent =
  /** A pod that came later has been connected to and its port claimed. */
  | { readonly kind: 'joined'; readonly port: number }
  | { readonly kind: 'lost'; readonly cause: string }
  /** An attempt to reconnect has failed, for another reason than the one before; it goes on. */
  | { readonly kind: 'retrying'; readonly cause: string }
  | { readonly kind: 'reconnected' }
  | { readonly kind: 'claimed-again'; readonly port: number }
  | { readonly kind: 'claim-taken'; readonly port: number; readonly holder: Holder }
  | { readonly kind: 'claim-failed'; readonly port: number; readonly cause: string }
  | { readonly kind: 'gone' };

export interface PodLinkOptions {
  readonly cluster: Cluster;
  readonly pod: LinkedPod;
  readonly hello: LocalHello;
  /** A flow that the pod sends here because we claimed its port. */
  readonly onIncoming: (stream: IncomingStream) => void;
  readonly onEvent: (event: LinkEvent) => void;
}

/**
 * Keeps one session to one pod: connects, and after a loss reconnects with back-off for as long as it takes and
 * takes its claims again. Streams do not survive a loss (that comes with resume).
 */
export class PodLink implements Closeable {
  readonly pod: LinkedPod;
  readonly #options: PodLinkOptions;
  readonly #claims = new Set<number>();
  readonly #held = new Set<number>();
  readonly #closing = new AbortController();
  readonly #waiters = new Set<() => void>();
  #state: LinkState = { kind: 'connecting' };
  #upkeep: Promise<void> | undefined;
  /** Until a pod that came later is connected to for the first time. */
  #joining = false;

  constructor(options: PodLinkOptions) {
    this.#options = options;
    this.pod = options.pod;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Ports that this link holds in the pod now. */
  get held(): ReadonlySet<number> {
    return this.#state.kind === 'up' ? this.#held : new Set();
  }

  get activeFlows(): number {
    return this.#state.kind === 'up' ? this.#state.session.activeStreams : 0;
  }

  /** The first connection; its failure is the caller's. From then on the link looks after itself. */
  async connect(options: AbortOptions = {}): Promise<void> {
    const closing = this.#closing.signal;
    const session = await this.#dial({ signal: options.signal === undefined ? closing : AbortSignal.any([options.signal, closing]) });
    this.#upkeep = this.#keepUp(session);
  }

  /** For a pod that came later: connects and claims as after a loss, for as long as it takes. */
  join(claims: Iterable<number>): void {
    for (const port of claims) this.#claims.add(port);
    this.#joining = true;
    this.#upkeep = this.#reconnect().then(async (session) => {
      this.#joining = false;
      if (session !== undefined) await this.#keepUp(session);
    });
  }

  /** The first claim of a port; a Failure PORT_HELD says who holds it. From then on it is taken again after a loss. */
  async claim(port: number, options: AbortOptions = {}): Promise<void> {
    if (this.#state.kind !== 'up') throw new Failure('TUNNEL_LOST', `the tunnel to pod ${this.pod.name} was lost`);
    try {
      await this.#state.session.request('claim', { protocol: 'tcp', port }, options);
    } catch (error) {
      throw claimFailure(this.pod, port, error);
    }
    this.#claims.add(port);
    this.#held.add(port);
  }

  /** Stops claiming. Flows that are open go on. */
  async releaseAll(options: AbortOptions = {}): Promise<void> {
    const claimed = [...this.#claims];
    this.#claims.clear();
    this.#held.clear();
    const state = this.#state;
    if (state.kind !== 'up') return;
    // A request that fails was overtaken by the loss of the session, and that releases too.
    await Promise.allSettled(claimed.map((port) => state.session.request('release', { protocol: 'tcp', port }, options)));
  }

  /** The session, now or as soon as the link is up again; undefined when it has ended for good. */
  async whenUp(options: AbortOptions = {}): Promise<Session | undefined> {
    while (true) {
      options.signal?.throwIfAborted();
      if (this.#state.kind === 'up') return this.#state.session;
      if (this.#state.kind === 'gone' || this.#state.kind === 'closed') return undefined;
      await this.#nextState(options);
    }
  }

  /** Says goodbye (claims end at once) and ends. */
  async close(): Promise<void> {
    if (!this.#closing.signal.aborted) {
      const state = this.#state;
      this.#closing.abort(new Error('the link was closed'));
      if (state.kind !== 'gone') this.#become({ kind: 'closed' });
      if (state.kind === 'up') await state.session.close();
    }
    await this.#upkeep;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #dial(options: AbortOptions): Promise<Session> {
    const { cluster, pod, hello, onIncoming } = this.#options;
    const target = { namespace: pod.namespace, pod: pod.name, port: ports.tunnel };
    const session = await connectSession(
      {
        description: `port-forward ${pod.namespace}/${pod.name}:${ports.tunnel}`,
        connect: (connectOptions) => cluster.portForward(target, connectOptions),
      },
      hello,
      {
        incoming: onIncoming,
        request: (method) => Promise.reject(new RequestError('unknown-method', `a laptop answers no ${method}`)),
        notified: () => undefined,
      },
      options,
    );
    this.#become({ kind: 'up', session });
    return session;
  }

  async #keepUp(first: Session): Promise<void> {
    let session: Session | undefined = first;
    while (session !== undefined) {
      const end = await session.ended;
      this.#held.clear();
      if (this.#closing.signal.aborted) return;
      this.#become({ kind: 'lost' });
      this.#options.onEvent({ kind: 'lost', cause: end.kind === 'lost' ? messageOf(end.cause) : 'the pod said goodbye' });
      session = await this.#reconnect();
    }
  }

  /** Undefined: closed, or the pod is gone. */
  async #reconnect(): Promise<Session | undefined> {
    const { signal } = this.#closing;
    const backoff = new Backoff();
    let told: string | undefined;
    while (!signal.aborted) {
      try {
        const session = await this.#dial({ signal });
        if (!this.#joining) this.#options.onEvent({ kind: 'reconnected' });
        await this.#claimAgain(session);
        return session;
      } catch (error) {
        if (error instanceof Failure && error.code === 'NOT_FOUND') {
          this.#become({ kind: 'gone' });
          this.#options.onEvent({ kind: 'gone' });
          return undefined;
        }
        // An API server that is away for an hour is said once; that the token has expired meanwhile, too.
        const reason = error instanceof Failure ? error.code : messageOf(error);
        if (reason !== told && !signal.aborted) {
          told = reason;
          this.#options.onEvent({ kind: 'retrying', cause: error instanceof Failure ? error.format() : reason });
        }
        await backoff.wait({ signal }).catch(() => undefined);
      }
    }
    return undefined;
  }

  /** Takes the claims again; one that somebody else took meanwhile is reported once and asked for until it is free. */
  async #claimAgain(session: Session): Promise<void> {
    await Promise.all([...this.#claims].map((port) => this.#claimOneAgain(session, port)));
  }

  async #claimOneAgain(session: Session, port: number): Promise<void> {
    try {
      await session.request('claim', { protocol: 'tcp', port }, { signal: this.#closing.signal });
      this.#held.add(port);
      this.#options.onEvent({ kind: this.#joining ? 'joined' : 'claimed-again', port });
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      const holder = holderOf(error);
      if (holder === undefined) {
        if (error instanceof RequestError) this.#options.onEvent({ kind: 'claim-failed', port, cause: error.message });
        return; // the session was lost again: its end starts the next round
      }
      this.#options.onEvent({ kind: 'claim-taken', port, holder });
      void this.#claimWhenFree(session, port);
    }
  }

  async #claimWhenFree(session: Session, port: number): Promise<void> {
    const { signal } = this.#closing;
    const backoff = new Backoff();
    while (!signal.aborted && this.#state.kind === 'up' && this.#state.session === session && this.#claims.has(port)) {
      await backoff.wait({ signal }).catch(() => undefined);
      try {
        await session.request('claim', { protocol: 'tcp', port }, { signal });
        this.#held.add(port);
        this.#options.onEvent({ kind: 'claimed-again', port });
        return;
      } catch (error) {
        if (holderOf(error) === undefined) return;
      }
    }
  }

  #become(state: LinkState): void {
    this.#state = state;
    for (const wake of this.#waiters) wake();
    this.#waiters.clear();
  }

  async #nextState(options: AbortOptions): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const wake = (): void => {
        options.signal?.removeEventListener('abort', abort);
        resolve();
      };
      const abort = (): void => {
        this.#waiters.delete(wake);
        reject(options.signal?.reason instanceof Error ? options.signal.reason : new Error('aborted'));
      };
      this.#waiters.add(wake);
      options.signal?.addEventListener('abort', abort, { once: true });
    });
  }
}

/** The holder in a `held` answer, or undefined for any other error. */
function holderOf(error: unknown): Holder | undefined {
  if (!(error instanceof RequestError) || error.code !== 'held') return undefined;
  const parsed = holderSchema.safeParse(error.details);
  return parsed.success ? parsed.data : undefined;
}

/** `bob@build-3 (API user "bob") since 14:03`. */
export function describeHolder(holder: Holder): string {
  const user = holder.user === undefined ? '' : ` (API user "${holder.user}")`;
  return `${holder.name}${user} since ${holder.since}`;
}

function claimFailure(pod: LinkedPod, port: number, error: unknown): Failure {
  const holder = holderOf(error);
  if (holder !== undefined) {
    return new Failure('PORT_HELD', `port ${port} of pod ${pod.name} is claimed by ${describeHolder(holder)}`, {
      ...(holder.away === true
        ? { likely: 'that laptop is not connected now', remedy: 'try again in ten seconds: the claim ends unless it comes back' }
        : { remedy: 'ask them to leave; "kpctl list" shows all claims' }),
      cause: error,
    });
  }
  if (error instanceof RequestError) {
    return new Failure('CLAIM_REFUSED', `pod ${pod.name} refused the claim of port ${port}: ${error.message}`, { cause: error });
  }
  return new Failure('TUNNEL_LOST', `the tunnel to pod ${pod.name} was lost while claiming port ${port}: ${messageOf(error)}`, {
    cause: error,
  });
}
