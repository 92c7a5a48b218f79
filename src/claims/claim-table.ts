import { RequestError } from '../tunnel/errors.ts';
import type { Peer, Session, SessionEnd } from '../tunnel/types.ts';
import type { ClaimAnswer, ClaimsAnswer, ClaimTarget, Holder } from './messages.ts';

/** ARCHITECTURE, section 6: how long a claim waits for its laptop, counted from the last frame heard. */
export const DEFAULT_GRACE_MILLISECONDS = 10_000;

/** What the table needs of a session: its `ended` must be told to the table by `sessionEnded`. */
export type ClaimSession = Pick<Session, 'id' | 'peer' | 'open' | 'openAssociation' | 'notify' | 'ended'>;

/** One holder's time with one target: the flows that it got are counted here, also after the claim has ended. */
export interface Tenure {
  readonly target: ClaimTarget;
  readonly session: ClaimSession;
  /** Flows that go to the holder now. */
  activeFlows: number;
}

/** Where a new flow goes. */
export type Decision =
  | { readonly kind: 'app' }
  | { readonly kind: 'session'; readonly tenure: Tenure }
  /** The claim is in grace: ask again once `changed` has resolved. */
  | { readonly kind: 'wait'; readonly changed: Promise<void> };

interface ActiveClaim {
  readonly kind: 'active';
  readonly since: Date;
  readonly tenure: Tenure;
}

interface GraceClaim {
  readonly kind: 'grace';
  readonly since: Date;
  readonly target: ClaimTarget;
  readonly sessionId: string;
  readonly peer: Peer;
  readonly timer: NodeJS.Timeout;
  readonly changed: PromiseWithResolvers<void>;
}

type Claim = ActiveClaim | GraceClaim;

export interface ClaimTableOptions {
  readonly graceMilliseconds?: number;
  /** Told when a target begins to be claimed, changes hands, or is the app's again. */
  readonly onChange?: (change: ClaimChange) => void;
}

/** A target is claimed from its `claimed` to its `released`, whatever is between. */
export interface ClaimChange {
  readonly target: ClaimTarget;
  readonly change: 'claimed' | 'claimed-again' | 'taken-over' | 'grace' | 'released';
  readonly holder: string;
}

/** Two targets with the same key are the same. */
export function keyOf({ protocol, port, address = '' }: ClaimTarget): string {
  return `${protocol}/${address}/${port}`;
}

/** `port 80`, `port 53/udp`, `10.0.0.1 port 5432`: for messages. */
export function nameOf({ protocol, port, address }: ClaimTarget): string {
  const name = `port ${port}${protocol === 'udp' ? '/udp' : ''}`;
  return address === undefined ? name : `${address} ${name}`;
}

/**
 * What is claimed, and by whom. A claim of a target is one of
 *
 * - absent: new flows go to the app;
 * - `active`: they go to the session that holds it;
 * - `grace`: its session was lost. New flows wait until the same session id has claimed again, or the grace ends.
 *
 * Nobody else can take a claim in grace, but for the same holder (the same `user@host` and API user): that is somebody
 * who starts `kpctl` again after it crashed. Names are what laptops say of themselves; claims guard against accidents,
 * and the right to reach the tunnel is what guards against enemies.
 */
export class ClaimTable {
  readonly #grace: number;
  readonly #onChange: (change: ClaimChange) => void;
  readonly #claims = new Map<string, Claim>();

  constructor(options: ClaimTableOptions = {}) {
    this.#grace = options.graceMilliseconds ?? DEFAULT_GRACE_MILLISECONDS;
    this.#onChange = options.onChange ?? (() => undefined);
  }

  /** How many claims there are, those in grace included. */
  get size(): number {
    return this.#claims.size;
  }

  /** Claims a target for a session. Throws RequestError `held`, with the Holder as details, when somebody else has it. */
  claim(session: ClaimSession, target: ClaimTarget): ClaimAnswer {
    const claim = this.#claims.get(keyOf(target));
    if (claim === undefined) return this.#become(session, target, new Date(), 'claimed');
    const peer = claim.kind === 'active' ? claim.tenure.session.peer : claim.peer;
    const id = claim.kind === 'active' ? claim.tenure.session.id : claim.sessionId;
    if (claim.kind === 'active' && claim.tenure.session === session) return { again: true };
    // Also while the lost transport of this session has not been noticed here yet.
    if (id === session.id) return this.#become(session, target, claim.since, 'claimed-again');
    if (claim.kind === 'grace' && isSameHolder(peer, session.peer)) return this.#become(session, target, new Date(), 'taken-over');
    const holder = holderOf(peer, claim.since);
    const away = claim.kind === 'grace' ? ' (its laptop is away; the claim ends within seconds unless it comes back)' : '';
    throw new RequestError('held', `${nameOf(target)} is claimed by ${holder.name} since ${holder.since}${away}`, {
      details: claim.kind === 'grace' ? { ...holder, away: true } : holder,
    });
  }

  /** Ends a session's claim at once; flows that it has go on. Releasing what is not held is fine. */
  release(session: ClaimSession, target: ClaimTarget): void {
    const claim = this.#claims.get(keyOf(target));
    if (claim === undefined) return;
    const id = claim.kind === 'active' ? claim.tenure.session.id : claim.sessionId;
    if (id === session.id) this.#end(claim);
  }

  /**
   * A session's transport has ended: lost, its claims wait until `lastHeard` plus the grace; otherwise they end at once.
   * Claims that the same session holds by a newer transport are not touched.
   */
  sessionEnded(session: ClaimSession, end: SessionEnd): void {
    for (const claim of this.#claims.values()) {
      if (claim.kind !== 'active' || claim.tenure.session !== session) continue;
      const left = end.kind === 'lost' ? end.lastHeard + this.#grace - performance.now() : 0;
      if (left <= 0) this.#end(claim);
      else this.#suspend(claim, left);
    }
  }

  /** Where a new flow to `target` goes: TCP or UDP, from outside to a port of the pod, or the pod's own to another address. */
  decide(target: ClaimTarget): Decision {
    // Nearly always: nothing is claimed, and nothing need be looked up.
    const claim = this.#claims.size === 0 ? undefined : this.#claims.get(keyOf(target));
    if (claim === undefined) return { kind: 'app' };
    if (claim.kind === 'active') return { kind: 'session', tenure: claim.tenure };
    return { kind: 'wait', changed: claim.changed.promise };
  }

  /** The answer to `claims`, by port, then protocol, inbound first. */
  list(): ClaimsAnswer {
    const claims = [...this.#claims.values()].sort((first, second) => compare(targetOf(first), targetOf(second)));
    return {
      claims: claims.map((claim) => ({
        ...targetOf(claim),
        holder: holderOf(claim.kind === 'active' ? claim.tenure.session.peer : claim.peer, claim.since),
        state: claim.kind,
        activeFlows: claim.kind === 'active' ? claim.tenure.activeFlows : 0,
      })),
    };
  }

  /** Ends all claims: flows that wait go to the app. */
  clear(): void {
    for (const claim of this.#claims.values()) this.#end(claim);
  }

  #become(session: ClaimSession, target: ClaimTarget, since: Date, change: ClaimChange['change']): ClaimAnswer {
    const key = keyOf(target);
    const before = this.#claims.get(key);
    this.#claims.set(key, { kind: 'active', since, tenure: { target, session, activeFlows: 0 } });
    if (before?.kind === 'grace') leave(before);
    this.#onChange({ target, change, holder: session.peer.name });
    return { again: change === 'claimed-again' };
  }

  #suspend({ since, tenure }: ActiveClaim, milliseconds: number): void {
    const { target, session } = tenure;
    const { id, peer } = session;
    const claim: GraceClaim = {
      kind: 'grace',
      since,
      target,
      sessionId: id,
      peer,
      timer: setTimeout(() => this.#end(claim), milliseconds),
      changed: Promise.withResolvers(),
    };
    this.#claims.set(keyOf(target), claim);
    this.#onChange({ target, change: 'grace', holder: peer.name });
  }

  #end(claim: Claim): void {
    const target = targetOf(claim);
    this.#claims.delete(keyOf(target));
    if (claim.kind === 'grace') leave(claim);
    const peer = claim.kind === 'active' ? claim.tenure.session.peer : claim.peer;
    this.#onChange({ target, change: 'released', holder: peer.name });
  }
}

function targetOf(claim: Claim): ClaimTarget {
  return claim.kind === 'active' ? claim.tenure.target : claim.target;
}

function compare(first: ClaimTarget, second: ClaimTarget): number {
  return (
    first.port - second.port || first.protocol.localeCompare(second.protocol) || (first.address ?? '').localeCompare(second.address ?? '')
  );
}

function leave(claim: GraceClaim): void {
  clearTimeout(claim.timer);
  claim.changed.resolve();
}

function isSameHolder(first: Peer, second: Peer): boolean {
  return first.name === second.name && first.user === second.user;
}

function holderOf(peer: Peer, since: Date): Holder {
  return { name: peer.name, ...(peer.user === undefined ? {} : { user: peer.user }), since: since.toISOString() };
}
