import type { Lease } from '../../cluster/leases.ts';
import { LEASE_SECONDS } from './session.ts';

interface Observed {
  readonly renewTime: string | undefined;
  /** By this process' own clock: laptops' clocks are often wrong. */
  since: number;
  /** Since when it is known to have been silent for its time. */
  suspectedAt: number | undefined;
}

/** What is to be done with a Lease that has been silent for its time. */
export type Verdict = 'ask' | 'lapsed';

/**
 * Which Leases are not renewed any more, by how long this process has not seen a change of them (as leader elections do). A Lease that
 * has been silent for its own time is asked for anew, and again after a pause: when the API server itself has been away, everybody needs a
 * moment to renew theirs.
 */
export class SilentLeases {
  readonly #observed = new Map<string, Observed>();
  readonly #pause: number;

  /** `pauseMilliseconds`: between the first silence and the end. */
  constructor(pauseMilliseconds = 10_000) {
    this.#pause = pauseMilliseconds;
  }

  /** Those of `leases` that have been silent for their time, `now` in milliseconds. Those that are not among them are forgotten. */
  look(leases: Iterable<Lease>, now: number): readonly { readonly lease: Lease; readonly verdict: Verdict }[] {
    const present = new Set<string>();
    const silent: { lease: Lease; verdict: Verdict }[] = [];
    for (const lease of leases) {
      const key = keyOf(lease);
      present.add(key);
      const observed = this.#observe(lease, now);
      if (now - observed.since < (lease.spec.leaseDurationSeconds ?? LEASE_SECONDS) * 1000) continue;
      if (observed.suspectedAt === undefined) silent.push({ lease, verdict: 'ask' });
      else if (now - observed.suspectedAt >= this.#pause) silent.push({ lease, verdict: 'lapsed' });
    }
    for (const key of this.#observed.keys()) if (!present.has(key)) this.#observed.delete(key);
    return silent;
  }

  /** What the API server says of one that was asked for. */
  answered(lease: Lease, now: number): void {
    const observed = this.#observe(lease, now);
    if (observed.since !== now) observed.suspectedAt ??= now;
  }

  /** The API server was not there, or slow: nobody could renew anything, and all begin anew. */
  forgive(now: number): void {
    for (const observed of this.#observed.values()) {
      observed.since = now;
      observed.suspectedAt = undefined;
    }
  }

  #observe(lease: Lease, now: number): Observed {
    const key = keyOf(lease);
    const known = this.#observed.get(key);
    const { renewTime } = lease.spec;
    if (known !== undefined && known.renewTime === renewTime) return known;
    const observed: Observed = { renewTime, since: now, suspectedAt: undefined };
    this.#observed.set(key, observed);
    return observed;
  }
}

function keyOf({ metadata }: Lease): string {
  return metadata.uid ?? `${metadata.namespace}/${metadata.name}`;
}
