import { deadline, type AbortOptions } from '../../platform/abort.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { Session } from '../../tunnel/index.ts';
import type { LinkedPod, LinkEvent, PodLink } from '../links/pod-link.ts';
import { Backoff } from '../links/backoff.ts';

export interface ExitOptions {
  /** Names a pod with kpeering in it: of the workload, or of the gateway; rejects when there is none now. */
  readonly choose: (options: AbortOptions) => Promise<LinkedPod>;
  readonly link: (pod: LinkedPod, onEvent: (event: LinkEvent) => void) => PodLink;
  readonly onEvent: (pod: string, event: LinkEvent) => void;
}

/** How long a new flow waits for a tunnel that is being repaired. */
const PATIENCE_MILLISECONDS = 10_000;

/** The pod from which a laptop's outbound flows leave. When that pod is gone, another one is chosen. */
export class Exit implements Closeable {
  readonly #options: ExitOptions;
  readonly #closing = new AbortController();
  #link: PodLink | undefined;
  #replacement: Promise<void> | undefined;

  constructor(options: ExitOptions) {
    this.#options = options;
  }

  /** Chooses the first pod and connects to it; fails when there is none. */
  async start(options: AbortOptions = {}): Promise<void> {
    await this.#connect(options);
  }

  /** The pod in use. */
  get link(): PodLink | undefined {
    return this.#link;
  }

  /** The session, as soon as there is one; rejects after ten seconds without. */
  async session(options: AbortOptions = {}): Promise<Session> {
    if (this.#link?.state.kind === 'up') return this.#link.state.session;
    const signal = deadline(PATIENCE_MILLISECONDS, options.signal);
    try {
      while (true) {
        if (this.#replacement !== undefined) await orAborted(this.#replacement, signal);
        const session = await this.#link?.whenUp({ signal });
        if (session !== undefined) return session;
        signal.throwIfAborted();
        if (this.#replacement === undefined) throw new Error('the tunnel was closed');
      }
    } catch (error) {
      if (!signal.aborted || options.signal?.aborted === true) throw error;
      throw new Error(`there is no tunnel to the cluster now, nor was there for ${PATIENCE_MILLISECONDS / 1000} s`, { cause: error });
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the exit was closed'));
    await this.#link?.close();
    await this.#replacement;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #connect(options: AbortOptions): Promise<void> {
    const pod = await this.#options.choose(options);
    const link = this.#options.link(pod, (event) => {
      this.#options.onEvent(pod.name, event);
      if (event.kind === 'gone' && link === this.#link) this.#replacement = this.#replace();
    });
    await link.connect(options);
    this.#link = link;
  }

  async #replace(): Promise<void> {
    const { signal } = this.#closing;
    const backoff = new Backoff();
    while (!signal.aborted) {
      try {
        await this.#connect({ signal });
        this.#replacement = undefined;
        return;
      } catch {
        // none is ready yet: a Deployment makes a new one
        await backoff.wait({ signal }).catch(() => undefined);
      }
    }
  }
}

/** Resolves with the promise; rejects when the signal aborts before. */
async function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
