import { answerDial } from '../../forwarder/answer.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { IncomingStream, LocalHello } from '../../tunnel/index.ts';
import { PodLink, type LinkEvent } from '../links/pod-link.ts';
import type { Notices } from '../links/notices.ts';
import { dialLocal } from './local-server.ts';
import type { PodRoutes } from './routes.ts';

export interface InterceptionOptions {
  readonly cluster: Cluster;
  readonly hello: LocalHello;
  readonly pods: readonly PodRoutes[];
  readonly onEvent: (pod: string, event: LinkEvent) => void;
  readonly notices: Notices;
  /** Resolves when local servers may be dialled: `run` holds callers back until its command listens for the first time. */
  readonly beforeDial?: (localPort: number, signal: AbortSignal) => Promise<void>;
}

/**
 * The claims of one `kpctl` on one workload: a link to every pod, all or nothing at the start, and the answer to every
 * flow that the pods send here.
 */
export class Interception implements Closeable {
  readonly #links = new Map<string, PodLink>();
  readonly #options: InterceptionOptions;
  #active = 0;
  #draining = false;
  #whenIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: InterceptionOptions) {
    this.#options = options;
    for (const pod of options.pods) this.#add(pod);
  }

  /** To the pods of now. */
  get links(): readonly PodLink[] {
    return [...this.#links.values()];
  }

  /** Whether there is a link to this pod. */
  has(pod: string): boolean {
    return this.#links.has(pod);
  }

  /** Takes in a pod that came after the start: what fails there is tried again, and ends nothing. */
  join(pod: PodRoutes): void {
    if (this.#closing === undefined && !this.#draining && !this.has(pod.pod.name)) this.#add(pod).join(pod.routes.keys());
  }

  #add({ pod, routes }: PodRoutes): PodLink {
    const { cluster, hello, onEvent } = this.#options;
    const link = new PodLink({
      cluster,
      pod,
      hello,
      onIncoming: (stream) => void this.#answer(stream, pod.name, routes),
      onEvent: (event) => {
        if (event.kind === 'gone') this.#links.delete(pod.name);
        onEvent(pod.name, event);
      },
    });
    this.#links.set(pod.name, link);
    return link;
  }

  /** Connects to every pod and takes every claim; if one fails, all are given back and the failure is the caller's. */
  static async start(options: InterceptionOptions, abort: AbortOptions = {}): Promise<Interception> {
    const interception = new Interception(options);
    try {
      await Promise.all(interception.links.map((link) => link.connect(abort)));
      // one pod after the other, so that two laptops that start at once do not each hold half
      for (const [index, link] of interception.links.entries()) {
        for (const port of options.pods[index]?.routes.keys() ?? []) await link.claim(port, abort);
      }
      return interception;
    } catch (error) {
      await interception.close();
      throw error;
    }
  }

  /** Flows that are being answered here now. */
  get activeFlows(): number {
    return this.#active;
  }

  /** Stops claiming and waits until the active flows have ended, or the signal aborts. */
  async drain(options: AbortOptions): Promise<void> {
    this.#draining = true;
    await Promise.all(this.links.map((link) => link.releaseAll(options)));
    if (this.#active === 0 || options.signal?.aborted === true) return;
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
      options.signal?.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** Ends the claims at once, and the flows. */
  close(): Promise<void> {
    return (this.#closing ??= Promise.all(this.links.map((link) => link.close())).then(() => undefined));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #answer(stream: IncomingStream, pod: string, routes: ReadonlyMap<number, number>): Promise<void> {
    const { request } = stream;
    const local = request.kind === 'claimed' ? routes.get(request.destination.port) : undefined;
    if (local === undefined) {
      stream.refuse('denied', 'this laptop claims no such port');
      return;
    }
    this.#active += 1;
    try {
      const result = await answerDial(
        stream,
        { address: '127.0.0.1', port: local },
        {
          dial: async (_destination, options) => {
            await this.#options.beforeDial?.(local, stream.signal);
            return await dialLocal(local, options);
          },
        },
      );
      if (result.kind === 'refused') {
        const source = request.kind === 'claimed' ? request.source?.address : undefined;
        this.#options.notices.once(
          `refused ${local}`,
          `a connection from ${source ?? 'the cluster'} to ${pod} was reset: 127.0.0.1:${local}: ${result.message}`,
        );
      }
    } finally {
      this.#active -= 1;
      if (this.#active === 0) this.#whenIdle?.();
    }
  }
}
