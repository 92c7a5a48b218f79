import { captureProofOf, sidecarStartOf } from '../../cluster/capture-proof.ts';
import type { Pod } from '../../cluster/resources.ts';
import { isAlive } from '../../cluster/workloads.ts';
import type { ProofResult } from './prove-pod.ts';

/** The sidecar runs; a moment later it listens. */
const SETTLE = 500;
/** After a proof that did not succeed: 2, 4, 8 … s, at most five minutes. */
const FIRST_PAUSE = 2_000;
const LAST_PAUSE = 300_000;
/** A failure is told when it was seen as often as this: right after a start much is not there yet. */
const ATTEMPTS = 3;
/** Rules can be removed while a pod runs. */
const AGAIN = 600_000;

/** A pod that is to be proved. */
export interface Candidate {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
  /** When its sidecar was started (RFC 3339). */
  readonly sidecarStart: string;
}

interface Entry extends Candidate {
  due: number;
  failures: number;
  /** How often in a row it could not be told. */
  untold: number;
  running: boolean;
  told: ProofResult['status'] | undefined;
}

/**
 * Which injected pods are to be proved when. Times are milliseconds of the caller's clock; `wallClock` is that of conditions, milliseconds
 * since 1970.
 */
export class ProofPlan {
  readonly #entries = new Map<string, Entry>();

  /** Takes in what a watch says of a pod. */
  observe(pod: Pod, now: number, wallClock: number): void {
    const { uid, namespace = '', name } = pod.metadata;
    const sidecarStart = sidecarStartOf(pod);
    if (uid === undefined) return;
    const addresses = addressesOf(pod);
    if (!isAlive(pod) || sidecarStart === undefined || addresses.length === 0) {
      this.#entries.delete(uid);
      return;
    }
    const known = this.#entries.get(uid);
    if (known?.sidecarStart === sidecarStart && known.addresses.join() === addresses.join()) return;
    // Another leader, or this one before it lost its Lease, may have proved it already.
    const proved = known === undefined ? captureProofOf(pod) : undefined;
    const age = proved === undefined ? AGAIN : Math.max(0, wallClock - proved.at);
    this.#entries.set(uid, {
      uid,
      namespace,
      name,
      addresses,
      sidecarStart,
      due: now + (proved?.status === 'True' && age < AGAIN ? AGAIN - age : SETTLE),
      failures: 0,
      untold: 0,
      running: false,
      told: proved?.status,
    });
  }

  forget(uid: string | undefined): void {
    if (uid !== undefined) this.#entries.delete(uid);
  }

  /** The next pod whose time has come, and which is not being proved; it is, from now on. */
  take(now: number): Candidate | undefined {
    let first: Entry | undefined;
    for (const entry of this.#entries.values()) {
      if (!entry.running && entry.due <= now && (first === undefined || entry.due < first.due)) first = entry;
    }
    if (first !== undefined) first.running = true;
    return first;
  }

  /** When {@link take} has something next. */
  get nextDue(): number | undefined {
    const waiting = [...this.#entries.values()].filter(({ running }) => !running).map(({ due }) => due);
    return waiting.length === 0 ? undefined : Math.min(...waiting);
  }

  /**
   * What came of a proof. True: it is to be told. A pod that has ended meanwhile, or whose sidecar has been started again, has nothing to be
   * told of this one.
   */
  proved(candidate: Candidate, { status }: ProofResult, now: number): boolean {
    const entry = this.#entries.get(candidate.uid);
    if (entry?.sidecarStart !== candidate.sidecarStart) return false;
    entry.running = false;
    if (status === 'True') {
      entry.failures = 0;
      entry.due = now + AGAIN * (0.9 + Math.random() / 10);
      entry.told = status;
      return true;
    }
    entry.failures += 1;
    entry.due = now + pauseAfter(entry.failures);
    if (entry.failures < ATTEMPTS) return false;
    const isNew = entry.told !== status;
    entry.told = status;
    return isNew;
  }

  /** It was told. */
  told(candidate: Candidate): void {
    const entry = this.#entries.get(candidate.uid);
    if (entry !== undefined) entry.untold = 0;
  }

  /** It could not be told: as if it had not been, and it is proved again soon. */
  untold(candidate: Candidate, now: number): void {
    const entry = this.#entries.get(candidate.uid);
    if (entry?.sidecarStart !== candidate.sidecarStart) return;
    entry.told = undefined;
    entry.untold += 1;
    // After a failure it is due soon anyway.
    if (entry.failures === 0) entry.due = Math.min(entry.due, now + pauseAfter(entry.untold));
  }

  /** How many pods there are of each standing. */
  get standing(): Readonly<Record<'proved' | 'not_captured' | 'unknown' | 'pending', number>> {
    const count = { proved: 0, not_captured: 0, unknown: 0, pending: 0 };
    for (const { told } of this.#entries.values()) {
      count[told === 'True' ? 'proved' : told === 'False' ? 'not_captured' : told === 'Unknown' ? 'unknown' : 'pending'] += 1;
    }
    return count;
  }
}

function pauseAfter(failures: number): number {
  return Math.min(LAST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1));
}

function addressesOf({ status }: Pod): readonly string[] {
  const main = status.podIP === undefined ? [] : [status.podIP];
  return [...new Set([...main, ...status.podIPs.map(({ ip }) => ip)])];
}
