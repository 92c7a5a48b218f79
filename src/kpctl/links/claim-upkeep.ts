import { claimAnswerSchema, stayingEndedSchema, type ClaimAnswer, type ClaimTarget } from '../../claims/messages.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { RequestError, type Session } from '../../tunnel/index.ts';
import { Backoff } from './backoff.ts';
import { claimFailure, holderOf } from './claim-failures.ts';
import type { LinkEvent } from './link-event.ts';
import { targetKey } from './targets.ts';

export interface ClaimUpkeepOptions {
  /** The pod's name, for messages. */
  readonly pod: string;
  /** The session while there is one. */
  readonly session: () => Session | undefined;
  readonly onEvent: (event: LinkEvent) => void;
  /** Aborts when the link is closed. */
  readonly closing: AbortSignal;
}

/** How a claim came to be, in the word of the event that tells it. */
type Claimed = 'joined' | 'claimed-too' | 'claimed-again';

/** Connections that end by themselves in this time are not worth a line: a kubelet's probe is one at any time. */
const STAYING_MILLISECONDS = 250;

/** Connections of one target that stay with the app. */
interface Staying {
  /** The user is told when this is over. */
  readonly timer: NodeJS.Timeout;
  told: boolean;
}

/** What one link claims in its pod: taken once by the user's word, and again after every loss until it is released. */
export class ClaimUpkeep {
  readonly #options: ClaimUpkeepOptions;
  readonly #wanted = new Map<string, ClaimTarget>();
  readonly #held = new Map<string, ClaimTarget>();
  readonly #staying = new Map<string, Staying>();

  constructor(options: ClaimUpkeepOptions) {
    this.#options = options;
    options.closing.addEventListener('abort', () => this.#forgetStaying([...this.#staying.keys()]), { once: true });
  }

  /** What is held in the pod now. */
  get held(): readonly ClaimTarget[] {
    return [...this.#held.values()];
  }

  /** The first claim; Failures PORT_HELD, PORT_NOT_CAPTURED, CLAIM_REFUSED, TUNNEL_LOST. From then on it is taken again after a loss. */
  async claim(target: ClaimTarget, options: AbortOptions): Promise<void> {
    const { pod, session } = this.#options;
    const now = session();
    if (now === undefined) throw new Failure('TUNNEL_LOST', `the tunnel to pod ${pod} was lost`);
    let answer: ClaimAnswer;
    try {
      answer = await request(now, target, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      throw claimFailure(pod, target, error);
    }
    this.#wanted.set(targetKey(target), target);
    this.#taken(target, answer);
  }

  /** To be claimed as soon as there is a session. */
  want(target: ClaimTarget): void {
    this.#wanted.set(targetKey(target), target);
  }

  /** One more target, later: claimed now where there is a session. What fails is told as an event. */
  async add(target: ClaimTarget): Promise<void> {
    if (this.#wanted.has(targetKey(target))) return;
    this.want(target);
    const session = this.#options.session();
    if (session !== undefined) await this.#take(session, target, 'claimed-too');
  }

  /** Stops claiming one target. Flows that are open go on. */
  async drop(target: ClaimTarget, options: AbortOptions = {}): Promise<void> {
    const key = targetKey(target);
    this.#wanted.delete(key);
    this.#held.delete(key);
    this.#forgetStaying([key]);
    // A request that fails was overtaken by the loss of the session, and that releases too.
    await this.#options
      .session()
      ?.request('release', target, options)
      .catch(() => undefined);
  }

  async dropAll(options: AbortOptions): Promise<void> {
    await Promise.all([...this.#wanted.values()].map((target) => this.drop(target, options)));
  }

  /** Takes all claims on a new session; one that somebody else took meanwhile is reported once and asked for until it is free. */
  async takeAll(session: Session, as: Claimed): Promise<void> {
    await Promise.all([...this.#wanted.values()].map((target) => this.#take(session, target, as)));
  }

  /** The session is lost. */
  lost(): void {
    this.#held.clear();
  }

  /** A notice of the sidecar. What is not understood is of a later release, and passed over. */
  notified(method: string, parameters: unknown): void {
    if (method !== 'staying-ended') return;
    const parsed = stayingEndedSchema.safeParse(parameters);
    // Once the answer to the claim, which may have come in the same read, has been seen.
    if (parsed.success) setImmediate(() => this.#stayingEnded(parsed.data));
  }

  async #take(session: Session, target: ClaimTarget, as: Claimed): Promise<void> {
    const { onEvent, closing } = this.#options;
    try {
      const answer = await request(session, target, { signal: closing });
      if (!this.#wanted.has(targetKey(target))) return await this.drop(target); // given up meanwhile
      onEvent({ kind: as, target });
      this.#taken(target, answer);
    } catch (error) {
      if (closing.aborted) return;
      const holder = holderOf(error);
      if (holder !== undefined) {
        onEvent({ kind: 'claim-taken', target, holder });
        void this.#takeWhenFree(session, target);
      } else this.#refused(target, error);
    }
  }

  #refused(target: ClaimTarget, error: unknown): void {
    // Otherwise the session was lost again: its end starts the next round.
    if (!(error instanceof RequestError) || error.code === 'lost') return;
    const { pod, onEvent } = this.#options;
    const cause = error.code === 'port-not-captured' ? claimFailure(pod, target, error).format() : error.message;
    onEvent({ kind: 'claim-failed', target, cause });
  }

  async #takeWhenFree(session: Session, target: ClaimTarget): Promise<void> {
    const { closing, onEvent } = this.#options;
    const backoff = new Backoff();
    while (!closing.aborted && this.#options.session() === session && this.#wanted.has(targetKey(target))) {
      await backoff.wait({ signal: closing }).catch(() => undefined);
      try {
        const answer = await request(session, target, { signal: closing });
        if (!this.#wanted.has(targetKey(target))) return await this.drop(target);
        onEvent({ kind: 'claimed-again', target });
        return this.#taken(target, answer);
      } catch (error) {
        if (holderOf(error) !== undefined) continue;
        if (!closing.aborted) this.#refused(target, error);
        return;
      }
    }
  }

  #taken(target: ClaimTarget, { staying = 0 }: ClaimAnswer): void {
    const key = targetKey(target);
    this.#held.set(key, target);
    if (staying === 0) this.#stayingEnded(target);
    else if (!this.#staying.has(key)) {
      const entry: Staying = {
        told: false,
        timer: setTimeout(() => {
          entry.told = true;
          this.#options.onEvent({ kind: 'staying', target, connections: staying });
        }, STAYING_MILLISECONDS).unref(),
      };
      this.#staying.set(key, entry);
    }
  }

  /** Only told of what was told to stay. */
  #stayingEnded(target: ClaimTarget): void {
    const key = targetKey(target);
    const told = this.#staying.get(key)?.told === true;
    this.#forgetStaying([key]);
    if (told) this.#options.onEvent({ kind: 'staying-ended', target });
  }

  #forgetStaying(keys: readonly string[]): void {
    for (const key of keys) {
      clearTimeout(this.#staying.get(key)?.timer);
      this.#staying.delete(key);
    }
  }
}

async function request(session: Session, target: ClaimTarget, options: AbortOptions): Promise<ClaimAnswer> {
  return claimAnswerSchema.parse(await session.request('claim', target, options));
}
