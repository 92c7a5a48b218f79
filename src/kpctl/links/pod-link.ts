import type { ClaimTarget } from '../../claims/messages.ts';
import { DRAINING_NOTICE } from '../../claims/notices.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';
import { ports } from '../../platform/ports.ts';
import {
  connectSession,
  RequestError,
  type IncomingAssociation,
  type IncomingStream,
  type LocalHello,
  type Session,
} from '../../tunnel/index.ts';
import { Backoff } from './backoff.ts';
import { ClaimUpkeep } from './claim-upkeep.ts';
import { givesSignOfLife } from './sign-of-life.ts';
import type { LinkEvent } from './link-event.ts';

export type { LinkEvent } from './link-event.ts';

/** A pod with kpeering in it. */
export interface LinkedPod {
  readonly namespace: string;
  readonly name: string;
  /** Where it is known: a StatefulSet gives its names again. */
  readonly uid?: string | undefined;
}

export type LinkState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'up'; readonly session: Session }
  | { readonly kind: 'lost' }
  /** The pod is no more; the link has ended. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'closed' };

export interface PodLinkOptions {
  readonly cluster: Cluster;
  readonly pod: LinkedPod;
  readonly hello: LocalHello;
  /** A flow that the pod sends here because we claimed its port. */
  readonly onIncoming: (stream: IncomingStream) => void;
  /** The same of UDP; without it, associations are refused. */
  readonly onAssociation?: (association: IncomingAssociation) => void;
  readonly onEvent: (event: LinkEvent) => void;
  /** The pod's kpeering is about to end: it serves what it has, and takes no new tunnels. */
  readonly onDraining?: () => void;
}

/**
 * Keeps one session to one pod: connects, and after a loss reconnects with back-off for as long as it takes and
 * takes its claims again. Streams do not survive a loss (that comes with resume).
 */
export class PodLink implements Closeable {
  readonly pod: LinkedPod;
  readonly #options: PodLinkOptions;
  readonly #claims: ClaimUpkeep;
  readonly #closing = new AbortController();
  readonly #waiters = new Set<() => void>();
  #state: LinkState = { kind: 'connecting' };
  #upkeep: Promise<void> | undefined;
  /** Until a pod that came later is connected to for the first time. */
  #joining = false;
  /** The pod is being deleted: when its kpeering says goodbye, that is the end. */
  #beingDeleted = false;
  /** An attempt to reconnect, and the wait behind it; aborted where there is reason to try at once. */
  #attempt = new AbortController();

  constructor(options: PodLinkOptions) {
    this.#options = options;
    this.pod = options.pod;
    this.#claims = new ClaimUpkeep({
      pod: options.pod.name,
      session: () => (this.#state.kind === 'up' ? this.#state.session : undefined),
      onEvent: options.onEvent,
      closing: this.#closing.signal,
    });
  }

  get state(): LinkState {
    return this.#state;
  }

  /** What this link holds in the pod now. */
  get held(): readonly ClaimTarget[] {
    return this.#state.kind === 'up' ? this.#claims.held : [];
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
  join(claims: Iterable<ClaimTarget>): void {
    for (const target of claims) this.#claims.want(target);
    this.#joining = true;
    this.#upkeep = this.#reconnect().then(async (session) => {
      this.#joining = false;
      if (session !== undefined) await this.#keepUp(session);
    });
  }

  /** The first claim; Failures as of {@link ClaimUpkeep.claim}. From then on it is taken again after a loss. */
  async claim(target: ClaimTarget, options: AbortOptions = {}): Promise<void> {
    await this.#claims.claim(target, options);
  }

  /** One more claim, later: what fails is an event. */
  async claimToo(target: ClaimTarget): Promise<void> {
    await this.#claims.add(target);
  }

  /** Stops claiming one target. Flows that are open go on. */
  async release(target: ClaimTarget, options: AbortOptions = {}): Promise<void> {
    await this.#claims.drop(target, options);
  }

  /** Stops claiming. Flows that are open go on. */
  async releaseAll(options: AbortOptions = {}): Promise<void> {
    await this.#claims.dropAll(options);
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

  /**
   * After this machine slept, or its network changed: a session that gives no sign of life in time is given up at once, and a reconnection that is under way
   * begins anew. False: the session is not up, or was given up.
   */
  async check(milliseconds: number): Promise<boolean> {
    const state = this.#state;
    if (state.kind !== 'up') {
      this.#attempt.abort(new Error('the network has changed'));
      return false;
    }
    if (await givesSignOfLife(state.session, milliseconds)) return true;
    state.session.abort(new Error(`nothing was heard from the far end for ${milliseconds / 1000} s after the network changed`));
    return false;
  }

  /** The pod is being deleted. It serves on, and so does the link, until its kpeering ends. */
  expectDeletion(): void {
    this.#beingDeleted = true;
  }

  /** For a pod that is over although its object stays: the same as if it were gone. */
  async finish(): Promise<void> {
    if (this.#closing.signal.aborted || this.#state.kind === 'gone') return;
    this.#options.onEvent({ kind: 'gone', finished: true });
    await this.close();
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
    const { cluster, pod, hello, onIncoming, onAssociation, onDraining } = this.#options;
    const target = { namespace: pod.namespace, pod: pod.name, port: ports.tunnel };
    const session = await connectSession(
      {
        description: `port-forward ${pod.namespace}/${pod.name}:${ports.tunnel}`,
        connect: (connectOptions) => cluster.portForward(target, connectOptions),
      },
      hello,
      {
        incoming: onIncoming,
        ...(onAssociation !== undefined && { incomingAssociation: onAssociation }),
        request: (method) => Promise.reject(new RequestError('unknown-method', `a laptop answers no ${method}`)),
        notified: (method, parameters) => {
          if (method === DRAINING_NOTICE) onDraining?.();
          else this.#claims.notified(method, parameters);
        },
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
      this.#claims.lost();
      if (this.#closing.signal.aborted) return;
      if (this.#beingDeleted && end.kind === 'goodbye') return this.#gone();
      this.#become({ kind: 'lost' });
      this.#options.onEvent({ kind: 'lost', cause: end.kind === 'lost' ? messageOf(end.cause) : 'the pod said goodbye' });
      session = await this.#reconnect();
    }
  }

  /** Undefined: closed, or the pod is gone. */
  async #reconnect(): Promise<Session | undefined> {
    const closing = this.#closing.signal;
    let backoff = new Backoff();
    let told: string | undefined;
    while (!closing.aborted) {
      if (this.#attempt.signal.aborted) {
        this.#attempt = new AbortController();
        backoff = new Backoff();
      }
      const signal = AbortSignal.any([closing, this.#attempt.signal]);
      try {
        const session = await this.#dial({ signal });
        if (!this.#joining) this.#options.onEvent({ kind: 'reconnected' });
        await this.#claims.takeAll(session, this.#joining ? 'joined' : 'claimed-again');
        return session;
      } catch (error) {
        if (error instanceof Failure && error.code === 'NOT_FOUND') {
          this.#gone();
          return undefined;
        }
        // An API server that is away for an hour is said once; that the token has expired meanwhile, too.
        const reason = error instanceof Failure ? error.code : messageOf(error);
        if (reason !== told && !signal.aborted && !this.#beingDeleted) {
          told = reason;
          this.#options.onEvent({ kind: 'retrying', cause: error instanceof Failure ? error.format() : reason });
        }
        await backoff.wait({ signal }).catch(() => undefined);
      }
    }
    return undefined;
  }

  #gone(): void {
    this.#become({ kind: 'gone' });
    this.#options.onEvent({ kind: 'gone' });
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
