import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { messageOf } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { Session } from '../../tunnel/index.ts';
import { Backoff } from '../links/backoff.ts';
import type { LinkedPod, LinkEvent, PodLink } from '../links/pod-link.ts';
import { Changes } from './changes.ts';
import { podKey, ShunnedPods, type ChooseOptions } from './shunned-pods.ts';

/** What a link tells the exit. */
export interface ExitLinkHandlers {
  readonly onEvent: (event: LinkEvent) => void;
  /** The pod is about to end: it serves what it has, and takes no new tunnels. */
  readonly onDraining: () => void;
}

/** What is known of the pods that may be chosen, beside their links: from a watch. */
export interface ExitPods extends Closeable {
  /** Whether the pod is being deleted, or is no more. False where that is not known. */
  isEnding(pod: LinkedPod): boolean;
  /** Calls back after each change; returns the function that unsubscribes. */
  onChange(listener: () => void): () => void;
}

export interface ExitOptions {
  /** Names a pod with kpeering in it: of the workload, or of the gateway; rejects when there is none now. One that is to be avoided only where there is no other. */
  readonly choose: (options: ChooseOptions) => Promise<LinkedPod>;
  readonly link: (pod: LinkedPod, handlers: ExitLinkHandlers) => PodLink;
  readonly onEvent: (pod: string, event: LinkEvent) => void;
  /** Closed with the exit. */
  readonly pods?: ExitPods;
  /** Told of each move after the first connection: from where, and to where flows leave from now on. */
  readonly onMoved?: (from: string, to: string) => void;
}

/** How long a new flow waits for a tunnel that is being repaired. */
const PATIENCE_MILLISECONDS = 10_000;
/** How long a pod may take to answer the first attempt. A node that is lost says nothing at all. */
const CONNECT_MILLISECONDS = 5_000;
/**
 * A far end that is well says something after two seconds of silence, because it is asked to (docs/protocol.md). After this long new flows go to another pod, or
 * wait; those that are open wait until the tunnel counts as lost.
 */
const SUSPECT_MILLISECONDS = 3_000;
/** How often is looked whether a far end that was silent has spoken. */
const LISTEN_MILLISECONDS = 100;
/** Pods that are tried at the start before its failure is told. */
const FIRST_ATTEMPTS = 3;

/**
 * The pod from which a laptop's outbound flows leave. It moves to another one when that pod ends or does not answer; flows that are open end with the
 * tunnel that carries them, which a pod that ends in good order keeps up for as long as its grace allows.
 */
export class Exit implements Closeable {
  readonly #options: ExitOptions;
  readonly #closing = new AbortController();
  readonly #shunned = new ShunnedPods();
  readonly #changes = new Changes();
  /** That new flows take. */
  #link: PodLink | undefined;
  /** Of pods that end, for the flows that are open. */
  readonly #leaving = new Set<PodLink>();
  #moving: Promise<void> | undefined;
  /** Stops waiting for another pod: the present one is well again. */
  #staying = new AbortController();
  #lastFailure: unknown;
  readonly #unsubscribe: () => void;

  constructor(options: ExitOptions) {
    this.#options = options;
    this.#unsubscribe = options.pods?.onChange(() => this.#podsChanged()) ?? ((): void => undefined);
  }

  /** Chooses the first pod and connects to it; one that does not answer is passed over for another. Fails when there is none. */
  async start(options: AbortOptions = {}): Promise<void> {
    let first: unknown;
    const tried = new Set<string>();
    for (let attempt = 0; attempt < FIRST_ATTEMPTS; attempt += 1) {
      const pod = await this.#options.choose({ ...options, avoid: this.#shunned.now() });
      if (tried.has(podKey(pod))) break;
      tried.add(podKey(pod));
      try {
        // The last one that there is may take its time.
        const alone = attempt === FIRST_ATTEMPTS - 1;
        const signal = alone ? options.signal : deadline(2 * CONNECT_MILLISECONDS, options.signal);
        this.#link = await this.#connect(pod, signal === undefined ? {} : { signal });
        return;
      } catch (error) {
        options.signal?.throwIfAborted();
        first ??= error;
        this.#shunned.failed(pod);
      }
    }
    throw first;
  }

  /** The link that new flows take. */
  get link(): PodLink | undefined {
    return this.#link;
  }

  /** All links: also to pods that end, whose flows go on. */
  get links(): readonly PodLink[] {
    return [...(this.#link === undefined ? [] : [this.#link]), ...this.#leaving];
  }

  /** The session, as soon as there is one; rejects after ten seconds without. */
  async session(options: AbortOptions = {}): Promise<Session> {
    const now = this.#usable();
    if (now !== undefined) return now;
    const signal = deadline(PATIENCE_MILLISECONDS, options.signal);
    try {
      while (true) {
        if (this.#closing.signal.aborted) throw new Error('the tunnel was closed');
        if (this.#shouldMove()) this.#move();
        await this.#changes.next({ signal: deadline(LISTEN_MILLISECONDS, signal) }).catch(() => signal.throwIfAborted());
        const session = this.#usable();
        if (session !== undefined) return session;
      }
    } catch (error) {
      if (!signal.aborted || options.signal?.aborted === true) throw error;
      const why = this.#lastFailure === undefined ? '' : `: ${messageOf(this.#lastFailure)}`;
      throw new Error(`there is no tunnel to the cluster now, nor was there for ${PATIENCE_MILLISECONDS / 1000} s${why}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    this.#closing.abort(new Error('the exit was closed'));
    this.#changes.tell();
    await Promise.all([...this.links.map((link) => link.close()), this.#options.pods?.close()]);
    await this.#moving;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The session, unless it is silent. */
  #usable(): Session | undefined {
    const state = this.#link?.state;
    return state?.kind === 'up' && performance.now() - state.session.lastHeard < SUSPECT_MILLISECONDS ? state.session : undefined;
  }

  /** Whether new flows should leave from another pod. */
  #shouldMove(): boolean {
    const link = this.#link;
    return !this.#closing.signal.aborted && (link === undefined || this.#usable() === undefined || this.#shunned.isEnding(link.pod));
  }

  async #connect(pod: LinkedPod, options: AbortOptions): Promise<PodLink> {
    const link: PodLink = this.#options.link(pod, {
      onEvent: (event) => this.#linkEvent(link, event),
      onDraining: () => this.#draining(link),
    });
    try {
      await link.connect(options);
      return link;
    } catch (error) {
      await link.close();
      throw error;
    }
  }

  #linkEvent(link: PodLink, event: LinkEvent): void {
    const { pod } = link;
    const current = link === this.#link;
    if (event.kind === 'lost' || event.kind === 'gone') {
      this.#shunned.failed(pod);
      if (current) this.#move();
      else if (this.#leaving.delete(link)) void link.close();
    } else if (event.kind === 'reconnected') {
      this.#shunned.answered(pod);
      if (current && !this.#shunned.isEnding(pod)) this.#staying.abort(new Error(`${pod.name} is back`));
    }
    this.#changes.tell();
    if (current) this.#options.onEvent(pod.name, event);
  }

  #draining(link: PodLink): void {
    this.#shunned.ends(link.pod);
    link.expectDeletion();
    if (link === this.#link) this.#move();
  }

  #podsChanged(): void {
    const link = this.#link;
    if (link !== undefined && !this.#shunned.isEnding(link.pod) && this.#options.pods?.isEnding(link.pod) === true) this.#draining(link);
    this.#changes.tell();
  }

  #move(): void {
    this.#moving ??= this.#moveOn().finally(() => {
      this.#moving = undefined;
      // A link may have been lost between the last look and now.
      if (this.#shouldMove()) this.#move();
    });
  }

  async #moveOn(): Promise<void> {
    const backoff = new Backoff();
    while (this.#shouldMove()) {
      this.#staying = new AbortController();
      const signal = AbortSignal.any([this.#closing.signal, this.#staying.signal]);
      if (await this.#moveOnce(signal)) return;
      if (this.#shouldMove()) await this.#waitForAnother(backoff.next(), signal);
    }
  }

  /** False: there is no other pod now, or it does not answer. */
  async #moveOnce(signal: AbortSignal): Promise<boolean> {
    let pod: LinkedPod | undefined;
    try {
      const before = this.#link;
      const avoid = this.#shunned.now();
      pod = await this.#options.choose({
        signal,
        avoid: before === undefined || isOver(before) ? avoid : new Set([...avoid, podKey(before.pod)]),
      });
      // The one that there is looks after itself, unless it has ended for good.
      if (before !== undefined && podKey(before.pod) === podKey(pod) && !isOver(before)) return false;
      const link = await this.#connect(pod, { signal: deadline(CONNECT_MILLISECONDS, signal) });
      if (!this.#shouldMove()) {
        await link.close();
        return true;
      }
      this.#link = link;
      this.#shunned.answered(pod);
      this.#lastFailure = undefined;
      if (before !== undefined) {
        this.#retire(before);
        this.#options.onMoved?.(before.pod.name, pod.name);
      }
      this.#changes.tell();
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      this.#lastFailure = error;
      if (pod !== undefined) this.#shunned.failed(pod);
      return false;
    }
  }

  /** A tunnel that is up stays for its flows, until its pod says goodbye or is heard no more. */
  #retire(link: PodLink): void {
    // One that was silent, and has spoken since.
    for (const idle of this.#leaving) {
      if (idle.activeFlows === 0 && !this.#shunned.isEnding(idle.pod) && this.#leaving.delete(idle)) void idle.close();
    }
    if (link.state.kind === 'up') this.#leaving.add(link);
    else void link.close();
  }

  /** Until something has changed, or the time is over. */
  async #waitForAnother(milliseconds: number, signal: AbortSignal): Promise<void> {
    await this.#changes.next({ signal: deadline(milliseconds, signal) }).catch(() => undefined);
  }
}

function isOver(link: PodLink): boolean {
  return link.state.kind === 'gone' || link.state.kind === 'closed';
}
