import { setTimeout as sleep } from 'node:timers/promises';
import { leases, microTime, type Lease } from '../../cluster/leases.ts';
import type { Cluster } from '../../cluster/types.ts';
import { deadline } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import { OPERATOR_NAME, PART_OF_LABELS } from '../names.ts';

/** In milliseconds; those of client-go's leader election. */
export interface ElectionTimes {
  /** A holder that has not been seen to renew for so long is none. */
  readonly lease: number;
  /** A leader that could not renew for so long stops leading: before another one may begin. */
  readonly renew: number;
  /** Between two attempts to get the Lease, or to renew it. */
  readonly retry: number;
}

const TIMES: ElectionTimes = { lease: 15_000, renew: 10_000, retry: 2_000 };

/** For the last write of a process that ends. */
const RELEASE_MILLISECONDS = 3_000;

export interface ElectionOptions {
  readonly cluster: Pick<Cluster, 'get' | 'create' | 'patch'>;
  readonly namespace: string;
  /** Of this process and no other one: `kpeering-operator-5d9c_1f0e…`. */
  readonly identity: string;
  /** Of the Lease when it is made. */
  readonly ownerReferences: readonly object[];
  /** Called when this replica has become the leader; what it answers is closed when it is not any more, and the Lease is not sought again before. */
  readonly lead: () => Closeable;
  readonly log: Logger;
  readonly times?: ElectionTimes;
}

/**
 * Seeks and holds the Lease `kpeering-operator`, as client-go's leader election does: by versions of the object and the time that passes here, so
 * that clocks which differ do no harm. Closing gives the Lease back, and another replica takes it at its next attempt.
 */
export class LeaseElection implements Closeable {
  readonly #options: ElectionOptions;
  readonly #times: ElectionTimes;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  /** The Lease as it was last seen, and when (performance.now) that version was first seen. */
  #seen: { readonly lease: Lease; readonly at: number } | undefined;
  #term: { readonly work: Closeable; readonly expiry: NodeJS.Timeout } | undefined;
  #ending: Promise<void> | undefined;

  constructor(options: ElectionOptions) {
    this.#options = options;
    this.#times = options.times ?? TIMES;
    this.#ended = this.#run();
  }

  get leading(): boolean {
    return this.#term !== undefined;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { log } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#ending;
        const began = performance.now();
        // A lost answer must not leave a leader in doubt for longer than it may lead.
        const ours = await this.#attempt(deadline(this.#times.renew / 2, signal));
        // The term may have run out while the answer was on its way.
        await this.#ending;
        if (ours) this.#lead(began);
        else if (this.#term !== undefined) this.#lose('another replica has the Lease');
      } catch (error) {
        if (signal.aborted) break;
        log.warn(error instanceof Failure ? { reason: error.format() } : { err: error }, 'the Lease could not be sought or renewed');
      }
      await sleep(this.#times.retry * (0.9 + Math.random() / 5), undefined, { signal }).catch(() => {});
    }
    const leading = this.#term !== undefined;
    this.#lose('the operator stops');
    await this.#ending;
    if (leading) await this.#release();
  }

  /** One attempt to get the Lease or to renew it; whether it is ours now. */
  async #attempt(signal: AbortSignal): Promise<boolean> {
    const { identity } = this.#options;
    const known = this.#term === undefined ? undefined : this.#seen?.lease;
    if (known !== undefined && (await this.#patch(this.#held(microTime()), known, signal))) return true;
    // A leader's, too: an earlier renewal may have been stored although its answer was lost.
    const lease = await this.#read(signal);
    if (lease === undefined) return await this.#create(signal);
    if (this.#seen?.lease.metadata.resourceVersion !== lease.metadata.resourceVersion) this.#seen = { lease, at: performance.now() };
    const { holderIdentity, leaseDurationSeconds } = lease.spec;
    const ours = holderIdentity === identity;
    const silence = performance.now() - (this.#seen?.at ?? 0);
    const over = holderIdentity === undefined || silence > Math.max(this.#times.lease, (leaseDurationSeconds ?? 0) * 1000);
    if (!ours && !over) return false;
    const now = microTime();
    const taken = ours ? {} : { acquireTime: now, leaseTransitions: (lease.spec.leaseTransitions ?? 0) + 1 };
    return await this.#patch({ ...this.#held(now), ...taken }, lease, signal);
  }

  async #read(signal: AbortSignal): Promise<Lease | undefined> {
    const { cluster, namespace } = this.#options;
    try {
      return await cluster.get(leases, OPERATOR_NAME, { namespace, signal });
    } catch (error) {
      if (error instanceof Failure && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  async #create(signal: AbortSignal): Promise<boolean> {
    const { cluster, namespace, ownerReferences } = this.#options;
    const now = microTime();
    try {
      const lease = await cluster.create(
        leases,
        {
          apiVersion: 'coordination.k8s.io/v1',
          kind: 'Lease',
          metadata: { name: OPERATOR_NAME, namespace, labels: PART_OF_LABELS, ownerReferences },
          spec: { ...this.#held(now), acquireTime: now, leaseTransitions: 0 },
        },
        { namespace, fieldManager: OPERATOR_NAME, signal },
      );
      this.#seen = { lease, at: performance.now() };
      return true;
    } catch (error) {
      if (error instanceof Failure && error.code === 'API_EXISTS') return false;
      throw error;
    }
  }

  /** Only of the version that we know: who was faster has it. */
  async #patch(spec: object, { metadata: { resourceVersion } }: Lease, signal: AbortSignal): Promise<boolean> {
    const { cluster, namespace } = this.#options;
    try {
      const change = { kind: 'merge', object: { metadata: { resourceVersion }, spec } } as const;
      const lease = await cluster.patch(leases, OPERATOR_NAME, change, { namespace, fieldManager: OPERATOR_NAME, signal });
      this.#seen = { lease, at: performance.now() };
      return true;
    } catch (error) {
      // Deleted, or changed by another: what it is now is read at the next attempt.
      if (error instanceof Failure && (error.code === 'API_CONFLICT' || error.code === 'NOT_FOUND')) return false;
      throw error;
    }
  }

  #held(now: string): object {
    const { identity } = this.#options;
    return { holderIdentity: identity, leaseDurationSeconds: Math.max(1, Math.round(this.#times.lease / 1000)), renewTime: now };
  }

  /** `since`: when the request was made that has the Lease renewed. */
  #lead(since: number): void {
    const left = since + this.#times.renew - performance.now();
    if (left <= 0) return this.#lose('the Lease could not be renewed in time');
    if (this.#term !== undefined) clearTimeout(this.#term.expiry);
    const expiry = setTimeout(() => this.#lose('the Lease could not be renewed in time'), left);
    if (this.#term !== undefined) {
      this.#term = { work: this.#term.work, expiry };
      return;
    }
    this.#options.log.info({ identity: this.#options.identity }, 'this replica leads');
    this.#term = { work: this.#options.lead(), expiry };
  }

  #lose(reason: string): void {
    const term = this.#term;
    if (term === undefined) return;
    this.#term = undefined;
    clearTimeout(term.expiry);
    const { log } = this.#options;
    log.info({ reason }, 'this replica does not lead any more');
    this.#ending = term.work.close().catch((error: unknown) => log.error({ err: error }, "the leader's work did not end well"));
  }

  async #release(): Promise<void> {
    const lease = this.#seen?.lease;
    if (lease === undefined) return;
    try {
      const spec = { holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime() };
      await this.#patch(spec, lease, AbortSignal.timeout(RELEASE_MILLISECONDS));
    } catch (error) {
      this.#options.log.warn(
        error instanceof Failure ? { reason: error.format() } : { err: error },
        'the Lease was not given back: it lapses by itself',
      );
    }
  }
}
